"""Every slice of a rollout by every metric: rates of both versions, and those that stand out.

Rule: shown for people to look into; what turns a version back is the slices guardrail.
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.admin.dependencies import InMeans, InRollout
from app.admin.view import View
from app.domain.guardrails.slices.worst import FALSE_DISCOVERIES
from app.queries.rollouts import ComparedSlice, RolloutSlices, rollout_slices
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["rollouts"])

Rate = Annotated[float | None, Field(description="Share of bad ones, or mean loss; null: none to compare yet.")]


class SliceView(View):
    """One value of one slice key by one metric."""

    key: str
    value: str
    metric: Annotated[str, Field(description="errors, validity, or a quality metric's name.")]
    canary_n: Annotated[int, Field(description="Answers that were judged, read or labelled, by metric.")]
    stable_n: int
    canary_rate: Rate
    stable_rate: Annotated[Rate, Field(description="At the canary's weights.")]
    log_e: Annotated[float, Field(description="Evidence that the canary is worse in it, natural logarithm.")]
    stands_out: Annotated[
        bool,
        Field(description=f"Beside all others; of these {FALSE_DISCOVERIES:.0%} are false at most, on average."),
    ]

    @classmethod
    def of_slice(cls, shown: ComparedSlice) -> "SliceView":
        found = shown.compared
        return cls(
            key=found.slice.key,
            value=found.slice.value,
            metric=found.metric,
            canary_n=found.canary_n,
            stable_n=found.stable_n,
            canary_rate=found.canary_rate,
            stable_rate=found.stable_rate,
            log_e=found.log_e,
            stands_out=shown.stands_out,
        )


class SlicesView(View):
    """A rollout's slices, the most suspicious first."""

    rollout_id: str
    model: str
    canary: str
    stable: str
    hypotheses: Annotated[int, Field(description="Slices and metrics that there can be, as declared at the start.")]
    items: Annotated[list[SliceView], Field(description="Empty while nothing was seen of any.")]

    @classmethod
    def of_slices(cls, found: RolloutSlices) -> "SlicesView":
        rollout = found.rollout
        return cls(
            rollout_id=rollout.id,
            model=rollout.model,
            canary=rollout.canary,
            stable=rollout.stable,
            hypotheses=found.hypotheses,
            items=[SliceView.of_slice(each) for each in found.slices],
        )


@router.get("/rollouts/{rollout_id}/slices", summary="Both versions in every slice by every metric")
async def read_slices(rollout_id: InRollout, means: InMeans) -> SlicesView:
    return SlicesView.of_slices(await rollout_slices(means, rollout_id))
