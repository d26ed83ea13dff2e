"""What each version's answers cost, what keeping one warm costs, and what a rollback would cost or save."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from app.admin.dependencies import InMeans, InModel
from app.admin.view import View
from app.queries.cost import ModelCost, model_cost
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["quality"])

WINDOW_MAX_S = 7 * 86_400

CostWindow = Annotated[int, Query(ge=1, le=WINDOW_MAX_S, description="Seconds of traffic that are summed.")]
Amount = Annotated[float | None, Field(description="In the currency of the version's prices.")]


class VersionCostView(View):
    """One version; a mean is null where nothing was measured, a cost where it has no prices."""

    version: str
    exchanges: int
    answers_per_s: float
    measured: Annotated[int, Field(description="Answers whose cost is known: the sampled ones.")]
    cost_per_answer: Amount
    cap: Annotated[float | None, Field(description="No answer is counted as dearer: near it a mean says too little.")]
    cost_per_day: Annotated[float | None, Field(description="At the observed traffic, keeping it running included.")]
    per_hour: Annotated[float | None, Field(description="Of keeping it running at all.")]
    seconds_per_answer: float | None
    megabytes_per_answer: float | None
    prompt_tokens_per_answer: float | None
    completion_tokens_per_answer: float | None


class WarmView(View):
    """A version that is kept running beside stable."""

    version: str
    role: Literal["canary", "standby"]
    per_day: float


class TurningBackView(View):
    """What a rollback would do to the bill, at the observed traffic; null where a cost is not known."""

    away: str
    back: str
    answers_per_s: Annotated[
        float, Field(description="The traffic that would move: the model's in the window, at the weight of now.")
    ]
    per_day: Annotated[float | None, Field(description="More a day; negative: saved.")]
    saved_when_stopped: Annotated[float, Field(description="A day, once the turned-back version is shut down.")]
    sentence: str


class CostView(View):
    """What a model's versions cost."""

    model: str
    since: Annotated[datetime, Field(description="The window's start, or the first exchange in it.")]
    until: datetime
    versions: list[VersionCostView]
    kept_warm: list[WarmView]
    rollback: TurningBackView | None

    @classmethod
    def of_model(cls, model: str, cost: ModelCost) -> "CostView":
        return cls(
            model=model,
            since=cost.since,
            until=cost.until,
            versions=[VersionCostView.of(each) for each in cost.versions],
            kept_warm=[WarmView.of(each) for each in cost.kept_warm],
            rollback=None if cost.rollback is None else TurningBackView.of(cost.rollback),
        )


@router.get("/{model}/cost", summary="What each version's answers cost, and what a rollback would")
async def read_cost(model: InModel, means: InMeans, window_s: CostWindow = 86_400) -> CostView:
    return CostView.of_model(model, await model_cost(means, model, window_s))
