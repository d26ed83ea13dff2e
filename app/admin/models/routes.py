"""Models, their versions and their routes."""

from fastapi import APIRouter, Response

from app.actions.models import register_model, register_version
from app.actions.routes import change_route
from app.admin.dependencies import Actor, InMeans, InModel, InServices, known_version
from app.admin.history.views import DecisionView
from app.admin.models.bodies import ModelBody, RouteBody, TimeoutsBody, VersionBody
from app.admin.models.views import ModelPage, ModelSummary, ModelView, RouteView, VersionView
from app.admin.pages import Page
from app.domain.catalog.declarations import Credentials
from app.domain.catalog.models import Bulkhead, Version, version_name
from app.queries.models import (
    ListedModel,
    listed_models,
    observed_route,
    registered_version,
    registered_versions,
    whole_model,
)
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute)


@router.post("", status_code=201, tags=["models"], summary="Register a model")
async def post_model(body: ModelBody, given: InServices, who: Actor, response: Response) -> ModelSummary:
    model = body.to_domain()
    await register_model(given.means, model, actor=who)
    response.headers["location"] = f"/v1/models/{model.name}"
    return ModelSummary.of_model(ListedModel(model, None, None))


@router.get("", tags=["models"], summary="List all models")
async def list_models(means: InMeans) -> ModelPage:
    found = await listed_models(means)
    items = [ModelSummary.of_model(listed) for listed in found.models]
    return ModelPage(items=items, unreadable={str(name): why for name, why in found.unreadable.items()})


@router.get("/{model}", tags=["models"], summary="One model with its versions, route and last rollout")
async def read_model(model: InModel, means: InMeans) -> ModelView:
    return ModelView.of_whole(await whole_model(means, model))


@router.get("/{model}/versions", tags=["versions"], summary="List a model's versions, the oldest first")
async def list_versions(model: InModel, means: InMeans) -> Page[VersionView]:
    return Page(items=[VersionView.of_version(version) for version in await registered_versions(means, model)])


@router.get("/{model}/versions/{version}", tags=["versions"], summary="One version")
async def read_version(model: InModel, version: str, means: InMeans) -> VersionView:
    return VersionView.of_version(await registered_version(means, model, known_version(model, version)))


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
    # Urls are stored, and shown, in the spelling that was checked.
    return VersionView.of_version(await registered_version(given.means, model, new.name))


@router.get("/{model}/route", tags=["routes"], summary="Target weights beside observed shares")
async def read_route(model: InModel, given: InServices) -> RouteView:
    window_s = given.observed_window_s
    return RouteView.of_route(await observed_route(given.means, model, window_s), window_s)


@router.put("/{model}/route", tags=["routes"], summary="Set weights or mirror by hand; not while a rollout runs")
async def put_route(model: InModel, body: RouteBody, given: InServices, who: Actor) -> DecisionView:
    decision = await change_route(given.means, model, body.to_domain(), actor=who, reason=body.reason)
    given.note(decision)
    return DecisionView.of_decision(decision)
