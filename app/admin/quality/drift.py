"""Drift: inputs and predictions of a version beside its reference, and of a canary beside stable.

Rule: an alert for people; nothing here acts.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.admin.dependencies import InMeans, InModel
from app.admin.view import View
from app.domain.catalog.models import version_name
from app.domain.evidence.observed import SPREAD_S
from app.domain.guardrails.drift import Differing
from app.domain.reports.drift import ALPHA, FLOOR, Drifted
from app.queries.drift import BesideStable, DriftReport, ReferenceKind, drift_report
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["rollouts"])

Bounded = Annotated[float, Field(allow_inf_nan=False)]


class EffectView(View):
    """How far a distribution is from its reference, in the reference's own categories."""

    psi: Annotated[float, Field(description="Less what chance alone makes of it; may be below 0.")]
    jensen_shannon: float
    wasserstein: Annotated[float, Field(description="Between the reference's ranges; all of them apart is 1.")]
    worst_ratio: Annotated[float, Field(description="Share now over share then, of the category that moved most.")]


class DistributionView(View):
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
    def of_drift(cls, found: Drifted, reference: ReferenceKind) -> "DistributionView":
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


class DifferingView(View):
    """One distribution of the canary against stable's of the same time."""

    name: str
    log_e: float
    psi: Annotated[float | None, Field(description="Less what chance alone makes of it; may be below 0.")]
    jensen_shannon: float | None

    @classmethod
    def of_differing(cls, found: Differing) -> "DifferingView":
        return cls(name=found.name, log_e=found.log_e, psi=found.stability, jensen_shannon=found.divergence)


class BesideStableView(View):
    """A running rollout: inputs must be alike, predictions may differ."""

    canary: str
    stable: str
    inputs: list[DifferingView]
    predictions: DifferingView | None

    @classmethod
    def of_versions(cls, found: BesideStable) -> "BesideStableView":
        return cls(
            canary=found.canary,
            stable=found.stable,
            inputs=[DifferingView.of_differing(each) for each in found.inputs],
            predictions=None if found.predictions is None else DifferingView.of_differing(found.predictions),
        )


class DriftView(View):
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

    @classmethod
    def of_report(cls, model: str, report: DriftReport, window_s: int, floor: float) -> "DriftView":
        found = report.drift
        window, bake_in = found.window, found.bake_in
        return cls(
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
            distributions=[
                DistributionView.of_drift(each, found.reference_of(each.name)) for each in found.distributions
            ],
            traffic_changed=sorted(report.in_both),
            beside_stable=None if report.beside is None else BesideStableView.of_versions(report.beside),
        )


@router.get("/{model}/drift", summary="What a version is asked and predicts now, beside what it was")
async def read_drift(
    model: InModel,
    means: InMeans,
    version: Annotated[str | None, Query(description="Default: stable.")] = None,
    window_s: Annotated[int, Query(ge=SPREAD_S, le=86_400, multiple_of=SPREAD_S)] = 3_600,
    floor: Annotated[Bounded, Query(ge=0.0, le=10.0)] = FLOOR,
) -> DriftView:
    asked = None if version is None else version_name(version, "/version")
    return DriftView.of_report(model, await drift_report(means, model, asked, window_s, floor), window_s, floor)


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
