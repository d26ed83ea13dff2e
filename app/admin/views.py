"""What the admin API gives out: one schema per resource, made from domain values here and nowhere else."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field

from app.admin.models.declarations import (
    CredentialsView,
    FeatureView,
    FeedbackView,
    SliceKeyView,
    declared_by_model,
)
from app.admin.rollouts.views import RolloutSummary, WeightBp
from app.domain.catalog.models import Match, Model, Protocol, Timeouts, Version, VersionName
from app.domain.catalog.routing import FULL_BP, Mirror, Route
from app.domain.evidence.tally import Counter, Outcome, Tally
from app.domain.rollout.rollout import Rollout
from app.store.evidence.tallies import Slot
from app.store.rollouts.audit import Entry
from app.store.rollouts.decisions import Decision
from app.store.rollouts.standbys import Watched
from app.store.routing.routes import Generation

_Item = TypeVar("_Item")


class Page(BaseModel, Generic[_Item]):
    """One page of a list; `next_cursor` continues it."""

    items: list[_Item]
    next_cursor: str | None = None


class MatchView(BaseModel):
    """Where a model is found beside the paths recognised without configuration."""

    host: str | None
    path_prefix: str | None

    @classmethod
    def of(cls, match: Match) -> "MatchView":
        return cls(host=match.host, path_prefix=match.path_prefix)


class TimeoutsView(BaseModel):
    """How long the gateway waits for a version."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float

    @classmethod
    def of(cls, timeouts: Timeouts) -> "TimeoutsView":
        return cls(**asdict(timeouts))


class BulkheadView(BaseModel):
    """How much of each gateway process a version may hold."""

    concurrency: int
    queue: int


class VersionView(BaseModel):
    """One immutable build of a model."""

    model: str
    version: str
    urls: list[str]
    health_path: str | None
    timeouts: TimeoutsView
    bulkhead: BulkheadView
    path: str | None
    served_model: str | None
    server_name: str | None
    credentials: CredentialsView

    @classmethod
    def of(cls, version: Version) -> "VersionView":
        return cls(
            model=version.model,
            version=version.name,
            urls=list(version.urls),
            health_path=version.health_path,
            timeouts=TimeoutsView.of(version.timeouts),
            bulkhead=BulkheadView(**asdict(version.bulkhead)),
            path=version.path,
            served_model=version.served_model,
            server_name=version.server_name,
            credentials=CredentialsView.of(version.credentials),
        )


class MirrorView(BaseModel):
    """A version that gets copies of requests, and whose answers nobody sees."""

    version: str
    share_bp: WeightBp

    @classmethod
    def of(cls, mirror: Mirror | None) -> "MirrorView | None":
        return None if mirror is None else cls(**asdict(mirror))


class TargetView(BaseModel):
    """What a model's route says, without what really happened."""

    generation: int
    stable: str
    weights_bp: dict[str, WeightBp]
    mirror: MirrorView | None

    @classmethod
    def of(cls, route: Route) -> "TargetView":
        return cls(
            generation=route.generation,
            stable=route.stable,
            weights_bp={str(name): weight for name, weight in route.weights_bp.items()},
            mirror=MirrorView.of(route.mirror),
        )


class ObservationView(BaseModel):
    """What is read from a copy of a model's answers; a null pointer leaves it to the protocol."""

    prediction: str | None
    score: str | None
    sample_bp: int


class ModelSummary(BaseModel):
    """A model in a list."""

    name: str
    match: MatchView | None
    sticky_header: str | None
    sticky_cookie: str | None
    protocol: Protocol
    observation: ObservationView | None
    takes_invocations: bool
    feedback: FeedbackView | None
    slices: list[SliceKeyView]
    features: list[FeatureView]
    stable: str | None
    route: TargetView | None
    rollout: RolloutSummary | None

    @classmethod
    def of(cls, model: Model, route: Route | None, rollout: Rollout | None) -> "ModelSummary":
        return cls(**_model(model, route, rollout))


class StandbyView(BaseModel):
    """The version that a promoted one took the place of, while it keeps a little traffic to be compared with."""

    version: str
    weight_bp: WeightBp
    until: datetime

    @classmethod
    def of(cls, watched: Watched | None) -> "StandbyView | None":
        if watched is None or watched.ended_at is not None:
            return None
        watch = watched.watch
        return cls(version=watch.standby, weight_bp=watch.standby_bp, until=watch.until)


class ModelView(ModelSummary):
    """A model with its versions; `rollout` is the running one or the last."""

    standby: StandbyView | None
    versions: list[VersionView]

    @classmethod
    def of_all(
        cls,
        model: Model,
        route: Route | None,
        rollout: Rollout | None,
        watched: Watched | None,
        versions: tuple[Version, ...],
    ) -> "ModelView":
        return cls(
            **_model(model, route, rollout),
            standby=StandbyView.of(watched),
            versions=[VersionView.of(version) for version in versions],
        )


def _model(model: Model, route: Route | None, rollout: Rollout | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "match": None if model.match is None else MatchView.of(model.match),
        "sticky_header": model.sticky_header,
        "sticky_cookie": model.sticky_cookie,
        "protocol": model.protocol,
        "observation": None if model.observation is None else ObservationView(**asdict(model.observation)),
        "takes_invocations": model.takes_invocations,
        **declared_by_model(model.feedback, model.slices, model.features),
        "stable": None if route is None else route.stable,
        "route": None if route is None else TargetView.of(route),
        "rollout": None if rollout is None else RolloutSummary.of(rollout),
    }


class ObservedView(BaseModel):
    """What one version really got."""

    exchanges: int
    share_bp: int


class RouteView(BaseModel):
    """Who should get the next exchange, and who got the last ones."""

    model: str
    generation: int
    stable: str
    target: dict[str, WeightBp]
    mirror: MirrorView | None
    observed: dict[str, ObservedView]
    window_s: Annotated[int, Field(description="Seconds the observed exchanges were counted over.")]

    @classmethod
    def of(cls, route: Route, exchanges: Mapping[VersionName, int], window_s: int) -> "RouteView":
        total = sum(exchanges.values())
        return cls(
            model=route.model,
            generation=route.generation,
            stable=route.stable,
            target={str(name): weight for name, weight in route.weights_bp.items()},
            mirror=MirrorView.of(route.mirror),
            observed={
                str(name): ObservedView(exchanges=count, share_bp=round(count * FULL_BP / total) if total else 0)
                for name, count in exchanges.items()
            },
            window_s=window_s,
        )


class DecisionView(BaseModel):
    """What was decided, by whom and why, with the figures behind it."""

    id: str
    model: str
    rollout_id: str | None
    at: datetime
    action: str
    actor: str
    trigger: str
    reason: str | None
    sentence: str
    generation_before: int
    generation_after: int
    weights_before_bp: dict[str, WeightBp]
    weights_after_bp: dict[str, WeightBp]
    evidence: dict[str, object]

    @classmethod
    def of(cls, decision: Decision) -> "DecisionView":
        return cls(
            id=decision.id,
            model=decision.model,
            rollout_id=decision.rollout_id,
            at=decision.at,
            action=decision.action,
            actor=decision.actor,
            trigger=decision.trigger,
            reason=decision.reason,
            sentence=decision.sentence,
            generation_before=decision.generation_before,
            generation_after=decision.generation_after,
            weights_before_bp={str(name): weight for name, weight in decision.weights_before.items()},
            weights_after_bp={str(name): weight for name, weight in decision.weights_after.items()},
            evidence=dict(decision.evidence),
        )


class LiveView(BaseModel):
    """Which versions were live at a time, and the decision that made it so."""

    model: str
    at: datetime
    generation: int
    since: datetime
    stable: str
    weights_bp: dict[str, WeightBp]
    decision: DecisionView | None

    @classmethod
    def of(cls, at: datetime, then: Generation, decision: Decision | None) -> "LiveView":
        return cls(
            model=then.model,
            at=at,
            generation=then.generation,
            since=then.at,
            stable=then.stable,
            weights_bp={str(name): weight for name, weight in then.weights_bp.items()},
            decision=None if decision is None else DecisionView.of(decision),
        )


class AuditView(BaseModel):
    """One change, by whom."""

    id: str
    at: datetime
    actor: str
    action: str
    model: str
    version: str | None
    reason: str | None
    decision_id: str | None

    @classmethod
    def of(cls, entry: Entry) -> "AuditView":
        return cls(**asdict(entry))


class SlotView(BaseModel):
    """One version's counts in one step of time; latencies are null where nothing was answered."""

    version: str
    start: datetime
    end: datetime
    exchanges: int
    outcomes: dict[Outcome, int]
    excluded: int
    counters: Annotated[dict[Counter, int], Field(description="What else was counted; absent is 0.")]
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    latency_ms_p99: float | None

    @classmethod
    def of(cls, slot: Slot, quantiles_ms: tuple[float | None, float | None, float | None]) -> "SlotView":
        tally: Tally = slot.tally
        return cls(
            version=slot.version,
            start=datetime.fromtimestamp(slot.start, UTC),
            end=datetime.fromtimestamp(slot.end, UTC),
            exchanges=tally.exchanges,
            outcomes=dict(tally.outcomes),
            excluded=tally.excluded,
            counters=dict(tally.counters),
            latency_ms_p50=quantiles_ms[0],
            latency_ms_p95=quantiles_ms[1],
            latency_ms_p99=quantiles_ms[2],
        )


class MetricsView(BaseModel):
    """Per-version counts over a time range."""

    model: str
    since: datetime
    until: datetime
    step_s: int | None
    items: list[SlotView]
