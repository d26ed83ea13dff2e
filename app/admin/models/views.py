"""Models, versions and routes as the admin API shows them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from app.admin.fields import WeightBp, shown_weights
from app.admin.pages import Page
from app.admin.rollouts.views import RolloutSummary
from app.admin.view import View
from app.domain.catalog.declarations import PREDICTIONS, Credentials, Feature, Feedback, Prices, Signature, SliceKey
from app.domain.catalog.models import Bulkhead, Match, Observation, Protocol, Timeouts, Version
from app.domain.catalog.routing import FULL_BP, Mirror, Route
from app.domain.stats.histogram import Histogram
from app.queries.models import ListedModel, ObservedRoute, WholeModel
from app.queries.stored import Watched


class SampleView(View):
    """A distribution, as it is kept."""

    n: int
    bins: int
    labels: int

    @classmethod
    def of_histogram(cls, histogram: Histogram) -> "SampleView":
        return cls(n=histogram.n, bins=len(histogram.bins), labels=len(histogram.labels))


class CredentialsView(View):
    """All that a version was registered with beside its addresses."""

    offline: dict[str, float]
    prices: Prices | None
    signature: Signature | None
    reference: Annotated[dict[str, SampleView], Field(description="Feature, or `predictions`, to its distribution.")]

    @classmethod
    def of_credentials(cls, said: Credentials) -> "CredentialsView":
        samples = {name: SampleView.of_histogram(histogram) for name, histogram in said.reference.features.items()}
        if said.reference.predictions.n:
            samples[PREDICTIONS] = SampleView.of_histogram(said.reference.predictions)
        return cls(
            offline=dict(said.offline),
            prices=said.prices,
            signature=said.signature,
            reference=samples,
        )


class VersionView(View):
    """One immutable build of a model."""

    model: str
    version: str
    urls: list[str]
    health_path: str | None
    timeouts: Timeouts
    bulkhead: Bulkhead
    path: str | None
    served_model: str | None
    server_name: str | None
    credentials: CredentialsView

    @classmethod
    def of_version(cls, version: Version) -> "VersionView":
        return cls(
            model=version.model,
            version=version.name,
            urls=list(version.urls),
            health_path=version.health_path,
            timeouts=version.timeouts,
            bulkhead=version.bulkhead,
            path=version.path,
            served_model=version.served_model,
            server_name=version.server_name,
            credentials=CredentialsView.of_credentials(version.credentials),
        )


class MirrorView(View):
    """A version that gets copies of requests, and whose answers nobody sees."""

    version: str
    share_bp: WeightBp

    @classmethod
    def of_mirror(cls, mirror: Mirror | None) -> "MirrorView | None":
        return None if mirror is None else cls.of(mirror)


class TargetView(View):
    """A model's route as it was ordered, without what really happened."""

    generation: int
    stable: str
    weights_bp: dict[str, WeightBp]
    mirror: MirrorView | None

    @classmethod
    def of_route(cls, route: Route) -> "TargetView":
        return cls(
            generation=route.generation,
            stable=route.stable,
            weights_bp=shown_weights(route.weights_bp),
            mirror=MirrorView.of_mirror(route.mirror),
        )


class ModelSummary(View):
    """A model in a list."""

    name: str
    match: Match | None
    sticky_header: str | None
    sticky_cookie: str | None
    protocol: Protocol
    observation: Observation | None
    takes_invocations: bool
    feedback: Feedback | None
    slices: tuple[SliceKey, ...]
    features: tuple[Feature, ...]
    stable: str | None
    route: TargetView | None
    rollout: RolloutSummary | None

    @classmethod
    def of_model(cls, listed: ListedModel) -> "ModelSummary":
        return cls(**_summary(listed))


class ModelPage(Page[ModelSummary]):
    """All models."""

    unreadable: Annotated[
        dict[str, str],
        Field(description="Models of which this release cannot read all, the route or the rollout, and why."),
    ]


class StandbyView(View):
    """The version that a promoted one took the place of, while it keeps a little traffic to be compared with."""

    version: str
    weight_bp: WeightBp
    until: datetime

    @classmethod
    def of_watch(cls, watched: Watched | None) -> "StandbyView | None":
        if watched is None or watched.ended_at is not None:
            return None
        watch = watched.watch
        return cls(version=watch.standby, weight_bp=watch.standby_bp, until=watch.until)


class ModelView(ModelSummary):
    """A model with its versions; `rollout` is the running one or the last."""

    standby: StandbyView | None
    versions: list[VersionView]

    @classmethod
    def of_whole(cls, whole: WholeModel) -> "ModelView":
        return cls(
            **_summary(whole),
            standby=StandbyView.of_watch(whole.watched),
            versions=[VersionView.of_version(version) for version in whole.versions],
        )


def _summary(found: ListedModel | WholeModel) -> dict[str, Any]:
    model, route, rollout = found.model, found.route, found.rollout
    return {
        "name": model.name,
        "match": model.match,
        "sticky_header": model.sticky_header,
        "sticky_cookie": model.sticky_cookie,
        "protocol": model.protocol,
        "observation": model.observation,
        "takes_invocations": model.takes_invocations,
        "feedback": model.feedback,
        "slices": model.slices,
        "features": model.features,
        "stable": None if route is None else route.stable,
        "route": None if route is None else TargetView.of_route(route),
        "rollout": None if rollout is None else RolloutSummary.of(rollout),
    }


class ObservedView(View):
    """The exchanges that one version really got."""

    exchanges: int
    share_bp: int


class RouteView(View):
    """Who should get the next exchange, and who got the last ones."""

    model: str
    generation: int
    stable: str
    target: dict[str, WeightBp]
    mirror: MirrorView | None
    observed: dict[str, ObservedView]
    window_s: Annotated[int, Field(description="Seconds the observed exchanges were counted over.")]

    @classmethod
    def of_route(cls, seen: ObservedRoute, window_s: int) -> "RouteView":
        route, total = seen.route, sum(seen.exchanges.values())
        return cls(
            model=route.model,
            generation=route.generation,
            stable=route.stable,
            target=shown_weights(route.weights_bp),
            mirror=MirrorView.of_mirror(route.mirror),
            observed={
                str(name): ObservedView(exchanges=count, share_bp=round(count * FULL_BP / total) if total else 0)
                for name, count in seen.exchanges.items()
            },
            window_s=window_s,
        )
