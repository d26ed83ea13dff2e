"""Models, their versions and their routes."""

from fastapi import APIRouter, Response

from app.actions.models import register_model, register_version
from app.actions.routes import change_route
from app.admin.dependencies import Actor, InModel, InServices, InTransaction, known_version
from app.admin.schemas import ModelBody, RouteBody, TimeoutsBody, VersionBody
from app.admin.views import DecisionView, ModelSummary, ModelView, Page, RouteView, VersionView
from app.domain.catalog.declarations import Credentials
from app.domain.catalog.models import Bulkhead, ModelName, Version, version_name
from app.domain.catalog.routing import Route
from app.errors import UnknownVersion
from app.store.evidence import tallies
from app.store.pg.database import Transaction
from app.store.rollouts import rollouts, standbys
from app.store.routing import catalog, routes
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute)


@router.post("", status_code=201, tags=["models"], summary="Register a model")
async def post_model(body: ModelBody, given: InServices, who: Actor, response: Response) -> ModelSummary:
    model = body.to_domain()
    await register_model(given.means, model, actor=who)
    response.headers["location"] = f"/v1/models/{model.name}"
    return ModelSummary.of(model, None, None)


@router.get("", tags=["models"], summary="List all models")
async def list_models(tx: InTransaction) -> Page[ModelSummary]:
    routed = {entry.model.name: entry.route for entry in (await routes.table(tx)).models}
    running = {seen.rollout.model: seen.rollout for seen in await rollouts.active(tx)}
    return Page(
        items=[
            ModelSummary.of(model, routed.get(model.name), running.get(model.name))
            for model in await catalog.models(tx)
        ]
    )


@router.get("/{model}", tags=["models"], summary="One model with its versions, route and last rollout")
async def read_model(model: InModel, tx: InTransaction) -> ModelView:
    found = await catalog.model(tx, model)
    return ModelView.of_all(
        found,
        await routes.route(tx, model),
        await rollouts.latest(tx, model),
        await standbys.latest(tx, model),
        await catalog.versions(tx, model),
    )


@router.get("/{model}/versions", tags=["versions"], summary="List a model's versions, the oldest first")
async def list_versions(model: InModel, tx: InTransaction) -> Page[VersionView]:
    return Page(items=[VersionView.of(version) for version in await catalog.versions(tx, model)])


@router.get("/{model}/versions/{version}", tags=["versions"], summary="One version")
async def read_version(model: InModel, version: str, tx: InTransaction) -> VersionView:
    return VersionView.of(await catalog.version(tx, model, known_version(model, version)))


@router.put(
    "/{model}/versions/{version}",
    status_code=201,
    responses={200: {"model": VersionView, "description": "The very same version was registered before"}},
    tags=["versions"],
    summary="Register a version; the first of a model becomes its stable",
)
async def put_version(
    model: InModel, version: str, body: VersionBody, given: InServices, who: Actor, response: Response
) -> VersionView:
    new = Version(
        model=model,
        name=version_name(version, "/path/version"),
        urls=body.urls,
        timeouts=(body.timeouts or TimeoutsBody()).over(given.default_timeouts),
        health_path=body.health_path,
        bulkhead=Bulkhead() if body.bulkhead is None else body.bulkhead.to_domain(),
        path=body.checked_path(),
        served_model=body.served_model,
        server_name=body.checked_server_name(),
        credentials=Credentials() if body.credentials is None else body.credentials.to_domain(),
    )
    if not await register_version(given.means, new, actor=who):
        response.status_code = 200
    async with given.means.database.transaction() as tx:
        # Urls are stored, and shown, in the spelling that was checked.
        return VersionView.of(await catalog.version(tx, model, new.name))


@router.get("/{model}/route", tags=["routes"], summary="Target weights beside observed shares")
async def read_route(model: InModel, tx: InTransaction, given: InServices) -> RouteView:
    route = await _route(tx, model)
    observed = await tallies.exchanges(tx, model, given.observed_window_s)
    return RouteView.of(route, observed, given.observed_window_s)


@router.put("/{model}/route", tags=["routes"], summary="Set weights or mirror by hand; not while a rollout runs")
async def put_route(model: InModel, body: RouteBody, given: InServices, who: Actor) -> DecisionView:
    return given.told(await change_route(given.means, model, body.to_domain(), actor=who, reason=body.reason))


async def _route(tx: Transaction, model: ModelName) -> Route:
    route = await routes.route(tx, model)
    if route is None:
        raise UnknownVersion(model, "at all")
    return route
