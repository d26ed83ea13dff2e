"""Decisions made again, and what came out."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.admin.dependencies import InDecision, InServices
from app.domain.rollout.replay import Difference
from app.queries.replay import Replayed, ReplayOutcome, Resummed, replay
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["history"])


class DifferenceView(BaseModel):
    """One value that does not come out as it is stored; the name is a JSON pointer."""

    name: str
    stored: object
    recomputed: object

    @classmethod
    def of_all(cls, found: tuple[Difference, ...]) -> "list[DifferenceView]":
        return [cls(name=each.name, stored=each.stored, recomputed=each.recomputed) for each in found]


class ResummedView(BaseModel):
    """What the tallies say of the counts a decision was made from."""

    agrees: Annotated[bool | None, Field(description="null when the tallies cannot say.")]
    sentence: str
    differences: list[DifferenceView]

    @classmethod
    def of(cls, resummed: Resummed) -> "ResummedView":
        return cls(
            agrees=resummed.agrees,
            sentence=resummed.sentence,
            differences=DifferenceView.of_all(resummed.differences),
        )


class ReplayView(BaseModel):
    """A decision made again from what it was made from, beside what is stored of it."""

    decision_id: str
    outcome: ReplayOutcome
    sentence: str
    decided_with: Annotated[str | None, Field(description="The engine that decided; null when it did not say.")]
    replayed_with: str
    recomputed: Annotated[dict[str, object] | None, Field(description="null when nothing was replayed.")]
    differences: list[DifferenceView]
    from_rows: ResummedView | None

    @classmethod
    def of(cls, replayed: Replayed) -> "ReplayView":
        return cls(
            decision_id=replayed.decision.id,
            outcome=replayed.outcome,
            sentence=replayed.sentence,
            decided_with=replayed.decided_with,
            replayed_with=replayed.replayed_with,
            recomputed=None if replayed.recomputed is None else dict(replayed.recomputed),
            differences=DifferenceView.of_all(replayed.differences),
            from_rows=None if replayed.from_rows is None else ResummedView.of(replayed.from_rows),
        )


@router.get("/decisions/{decision_id}/replay", summary="Make a decision again and compare, to the last bit")
async def read_replay(
    decision_id: InDecision,
    given: InServices,
    *,
    from_rows: Annotated[bool, Query(description="Sum its counts from the tallies too, while they are kept.")] = False,
) -> ReplayView:
    return ReplayView.of(await replay(given.means, decision_id, from_rows=from_rows))
