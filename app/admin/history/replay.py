"""Decisions made again, and what came out."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.admin.dependencies import InDecision, InMeans
from app.admin.view import View
from app.domain.rollout.replay import Difference
from app.queries.replay import Replayed, ReplayOutcome, replay
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["history"])


class ResummedView(View):
    """What the tallies say of the counts a decision was made from."""

    agrees: Annotated[bool | None, Field(description="null when the tallies cannot say.")]
    sentence: str
    differences: tuple[Difference, ...]


class ReplayView(View):
    """A decision made again from what it was made from, beside what is stored of it."""

    decision_id: str
    outcome: ReplayOutcome
    sentence: str
    decided_with: Annotated[str | None, Field(description="The engine that decided; null when it did not say.")]
    replayed_with: str
    recomputed: Annotated[dict[str, object] | None, Field(description="null when nothing was replayed.")]
    differences: tuple[Difference, ...]
    from_rows: ResummedView | None

    @classmethod
    def of_replay(cls, replayed: Replayed) -> "ReplayView":
        return cls(
            decision_id=replayed.decision.id,
            outcome=replayed.outcome,
            sentence=replayed.sentence,
            decided_with=replayed.decided_with,
            replayed_with=replayed.replayed_with,
            recomputed=None if replayed.recomputed is None else dict(replayed.recomputed),
            differences=replayed.differences,
            from_rows=None if replayed.from_rows is None else ResummedView.of(replayed.from_rows),
        )


@router.get("/decisions/{decision_id}/replay", summary="Make a decision again and compare, to the last bit")
async def read_replay(
    decision_id: InDecision,
    means: InMeans,
    *,
    from_rows: Annotated[bool, Query(description="Sum its counts from the tallies too, while they are kept.")] = False,
) -> ReplayView:
    return ReplayView.of_replay(await replay(means, decision_id, from_rows=from_rows))
