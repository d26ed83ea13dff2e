"""Drift: inputs and predictions of a version beside its reference, and of a canary beside stable.

Rule: an alert for people; nothing here acts.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.admin.dependencies import InModel, InTransaction
from app.domain.catalog.models import ModelName, Version, version_name
from app.domain.evidence.observed import SPREAD_S
from app.domain.guardrails.drift import Differing
from app.domain.reports.drift import ALPHA, FLOOR, Drifted
from app.errors import InvalidInput
from app.queries.drift import BesideStable, Drift, ReferenceKind, beside_stable, drift_of, other_arm, running
from app.store.pg.database import Transaction
from app.store.routing import catalog, routes
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["rollouts"])

Bounded = Annotated[float, Field(allow_inf_nan=False)]


class EffectView(BaseModel):
    """How far a distribution is from its reference, in the reference's own categories."""

    psi: Annotated[float, Field(description="Less what chance alone makes of it; may be below 0.")]
    jensen_shannon: float
    wasserstein: Annotated[float, Field(description="Between the reference's ranges; all of them apart is 1.")]
    worst_ratio: Annotated[float, Field(description="Share now over share then, of the category that moved most.")]


class DistributionView(BaseModel):
    """One distribution against the reference."""

    name: str
    n: int
    reference: Annotated[ReferenceKind, Field(description="What it is held against.")]
    reference_n: int
    effect: Annotated[EffectView | None, Field(description="null: too few values.")]
    log_e: Annotated[float, Field(description="Evidence that both are not samples of the same, natural logarithm.")]
    log_limit: Annotated[float, Field(description="Where that counts, with all that is looked at.")]
    flagged: Annotated[bool, Field(description="Far, and provably.")]

    @classmethod
    def of(cls, found: Drifted, reference: ReferenceKind) -> "DistributionView":
        effect = None
        if found.effect is not None:
            effect = EffectView(
                psi=found.effect.stability,
                jensen_shannon=found.effect.divergence,
                wasserstein=found.effect.distance,
                worst_ratio=found.effect.worst_ratio,
            )
        return cls(
            name=found.name,
            n=found.n,
            reference=reference,
            reference_n=found.reference_n,
            effect=effect,
            log_e=found.log_e,
            log_limit=found.log_limit,
            flagged=found.flagged,
        )


class DifferingView(BaseModel):
    """One distribution of the canary against stable's of the same time."""

    name: str
    log_e: float
    psi: Annotated[float | None, Field(description="Less what chance alone makes of it; may be below 0.")]
    jensen_shannon: float | None

    @classmethod
    def of(cls, found: Differing) -> "DifferingView":
        return cls(name=found.name, log_e=found.log_e, psi=found.stability, jensen_shannon=found.divergence)


class BesideStableView(BaseModel):
    """A running rollout: inputs must be alike, predictions may differ."""

    canary: str
    stable: str
    inputs: list[DifferingView]
    predictions: DifferingView | None

    @classmethod
    def of(cls, found: BesideStable) -> "BesideStableView":
        return cls(
            canary=found.canary,
            stable=found.stable,
            inputs=[DifferingView.of(each) for each in found.inputs],
            predictions=None if found.predictions is None else DifferingView.of(found.predictions),
        )


class DriftView(BaseModel):
    """A version's last whole window against what it once saw and predicted."""

    model: str
    version: str
    reference: Annotated[
        ReferenceKind,
        Field(
            description="`training`: something was registered with the version; `bake-in`: nothing was, so it is held "
            "against its first kept windows."
        ),
    ]
    bake_in_since: Annotated[
        datetime | None,
        Field(description="null: all was registered, or too little was seen to say what is usual."),
    ]
    bake_in_until: datetime | None
    window_s: int
    since: Annotated[datetime | None, Field(description="null: no window is over yet.")]
    until: datetime | None
    window_number: Annotated[int | None, Field(description="The b-th window may spend alpha / (b (b + 1)).")]
    alpha: Annotated[float, Field(description="Chance that anything is ever flagged while nothing drifts.")]
    floor: Annotated[float, Field(description="Least PSI that is flagged.")]
    distributions: list[DistributionView]
    traffic_changed: Annotated[
        list[str], Field(description="Flagged of both versions of a running rollout: the traffic's doing.")
    ]
    beside_stable: Annotated[BesideStableView | None, Field(description="null: the version is in no running rollout.")]


@router.get("/{model}/drift", summary="What a version is asked and predicts now, beside what it was")
async def read_drift(
    model: InModel,
    tx: InTransaction,
    version: Annotated[str | None, Query(description="Default: stable.")] = None,
    window_s: Annotated[int, Query(ge=SPREAD_S, le=86_400, multiple_of=SPREAD_S)] = 3_600,
    floor: Annotated[Bounded, Query(ge=0.0, le=10.0)] = FLOOR,
) -> DriftView:
    asked = await _asked(tx, model, version)
    found = await drift_of(tx, asked, window_s, floor)
    rollout = await running(tx, model)
    other = None if rollout is None else await other_arm(tx, rollout, asked.name)
    both = frozenset[str]()
    if other is not None:
        both = found.flagged & (await drift_of(tx, other, window_s, floor)).flagged
    beside = None if rollout is None or other is None else BesideStableView.of(beside_stable(rollout))
    return _viewed(model, found, window_s, floor, both, beside)


async def _asked(tx: Transaction, model: ModelName, version: str | None) -> Version:
    await catalog.model(tx, model)
    if version is not None:
        return await catalog.version(tx, model, version_name(version, "/version"))
    route = await routes.route(tx, model)
    if route is None:
        raise InvalidInput("/version", f"model {model} has no stable version yet")
    return await catalog.version(tx, model, route.stable)


def _viewed(
    model: str, found: Drift, window_s: int, floor: float, both: frozenset[str], beside: BesideStableView | None
) -> DriftView:
    window, bake_in = found.window, found.bake_in
    return DriftView(
        model=model,
        version=found.version,
        reference=found.reference,
        window_s=window_s,
        bake_in_since=None if bake_in is None else _instant(bake_in.since),
        bake_in_until=None if bake_in is None else _instant(bake_in.until),
        since=None if window is None else _instant(window.since),
        until=None if window is None else _instant(window.until),
        window_number=None if window is None else window.number,
        alpha=ALPHA,
        floor=floor,
        distributions=[DistributionView.of(each, found.reference_of(each.name)) for each in found.distributions],
        traffic_changed=sorted(both),
        beside_stable=beside,
    )


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
