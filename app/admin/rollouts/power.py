"""What it takes to see an effect: a calculation, on measured traffic if a model is named."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, Strict

from app.actions.context import Means
from app.admin.dependencies import InMeans, known_model
from app.admin.fields import Name
from app.admin.view import View
from app.domain.catalog.routing import FULL_BP
from app.domain.guardrails import errors
from app.domain.stats import power
from app.domain.stats.power import Conditions, Need
from app.errors import InvalidInput
from app.queries.traffic import measured_traffic
from app.web.strict_body import Body
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["policies"])


class PowerMetric(StrEnum):
    """What kind of answer is better or worse."""

    ERRORS = "errors"  # bad or good
    LATENCY = "latency"  # slow or not, each arm by its own threshold
    SCORE = "score"  # a number from 0 to 1, such as labelled quality


Rate = Annotated[float, Field(ge=0.0, le=1.0)]


class PowerBody(Body):
    """Which effect to look for, and under which conditions."""

    metric: Annotated[PowerMetric, Strict(False)] = PowerMetric.ERRORS
    stable_rate: Annotated[Rate | None, Field(description="Stable's share of bad (or slow) answers.")] = None
    canary_rate: Annotated[Rate | None, Field(description="The canary's, to see how soon it shows.")] = None
    difference: Annotated[
        float | None, Field(ge=1e-4, le=1.0, description="Of a score: by how much the canary's mean is lower.")
    ] = None
    deviation: Annotated[float | None, Field(ge=1e-4, le=0.5, description="Of a score: its standard deviation.")] = None
    margin: Annotated[
        float | None, Field(ge=1e-4, lt=1.0, description="Absolute; how much worse still counts as not worse.")
    ] = None
    weight_bp: Annotated[int, Field(ge=1, lt=FULL_BP, description="The canary's weight.")] = 5_000
    alpha_rollback: Annotated[float, Field(ge=1e-6, le=0.2)] = 0.01
    alpha_promotion: Annotated[float, Field(ge=1e-6, le=0.5)] = 0.05
    share: Annotated[
        float, Field(ge=1e-3, le=1.0, description="Of alpha_rollback, where several guardrails share it.")
    ] = 1.0
    judged_share: Annotated[
        float, Field(ge=1e-6, le=1.0, description="Share of answers judged: of those labelled.")
    ] = 1.0
    exchanges_per_s: Annotated[float | None, Field(ge=1e-6, le=1e7, description="Traffic of both arms.")] = None
    model: Annotated[Name | None, Field(description="Whose traffic of the last hour is meant instead.")] = None
    within_s: Annotated[
        float | None, Field(gt=0.0, le=366 * 86_400.0, description="Say what so much time can show.")
    ] = None


class NeedView(View):
    """What one answer costs, on average."""

    limit: Annotated[float, Field(description="Fewest exchanges of both arms that any test needs.")]
    exchanges: Annotated[float, Field(description="About how many ours needs.")]
    canary_answers: float
    judged: Annotated[float, Field(description="How many of the answers must be judged (labelled), of both arms.")]
    extra_bad: Annotated[float | None, Field(description="Bad answers that stable would not have given.")]
    seconds: Annotated[float | None, Field(description="null when the traffic is not known.")]


class PowerView(View):
    """What it takes to turn a canary back, and to prove one not worse; null where the effect is none."""

    metric: PowerMetric
    weight_bp: int
    exchanges_per_s: float | None
    margin: float | None
    turn_back: NeedView | None
    prove: NeedView | None
    smallest_effect: Annotated[float | None, Field(description="Within the time asked for; null when nothing shows.")]


@router.post("/policies:power", summary="How many answers, labels and minutes an effect takes")
async def post_power(body: PowerBody, means: InMeans) -> PowerView:
    under = Conditions(
        weight=body.weight_bp / FULL_BP,
        alpha_rollback=body.alpha_rollback * body.share,
        alpha_promotion=body.alpha_promotion,
        exchanges_per_s=await _traffic(means, body),
        judged_share=body.judged_share,
    )
    return _of_score(body, under) if body.metric is PowerMetric.SCORE else _of_rate(body, under)


async def _traffic(means: Means, body: PowerBody) -> float | None:
    """What was said, or what was measured; None when neither says anything."""
    if body.model is None:
        return body.exchanges_per_s
    if body.exchanges_per_s is not None:
        raise InvalidInput("/model", "must not stand beside exchanges_per_s: one of them says the traffic")
    return await measured_traffic(means, known_model(body.model))


def _of_rate(body: PowerBody, under: Conditions) -> PowerView:
    stable = _wanted(body.stable_rate, "/stable_rate")
    _unwanted(body.difference, "/difference", "is of a score")
    _unwanted(body.deviation, "/deviation", "is of a score")
    canary = stable if body.canary_rate is None else body.canary_rate
    margin, prove = None, None
    if body.metric is PowerMetric.LATENCY:
        _unwanted(body.margin, "/margin", "of latency is in its thresholds: give the rates beyond them")
        prove = power.rate_better(stable, canary, under)
    else:
        margin = body.margin or _default_margin(stable)
        if margin >= 1.0 - stable:
            raise InvalidInput("/margin", "leaves no rate that would be worse")
        prove = power.rate_proven(stable, margin, under)
    smallest = None if body.within_s is None else power.smallest_rate(stable, under, body.within_s)
    return _view(body, under, margin, power.rate_refuted(stable, canary, under), prove, smallest)


def _default_margin(stable: float) -> float:
    """As a policy without a margin of its own has it."""
    relative, floor = errors.KIND.usual.margins
    return max(relative * stable, floor)


def _of_score(body: PowerBody, under: Conditions) -> PowerView:
    deviation = _wanted(body.deviation, "/deviation")
    _unwanted(body.stable_rate, "/stable_rate", "is not of a score")
    _unwanted(body.canary_rate, "/canary_rate", "is not of a score")
    turn_back = None if body.difference is None else power.mean_refuted(body.difference, deviation, under)
    prove = None if body.margin is None else power.mean_proven(body.margin, deviation, under)
    smallest = None if body.within_s is None else power.smallest_difference(deviation, under, body.within_s)
    return _view(body, under, body.margin, turn_back, prove, smallest)


def _view(
    body: PowerBody,
    under: Conditions,
    margin: float | None,
    turn_back: Need | None,
    prove: Need | None,
    smallest: float | None,
) -> PowerView:
    return PowerView(
        metric=body.metric,
        weight_bp=body.weight_bp,
        exchanges_per_s=under.exchanges_per_s,
        margin=margin,
        turn_back=None if turn_back is None else NeedView.of(turn_back),
        prove=None if prove is None else NeedView.of(prove),
        smallest_effect=smallest,
    )


def _wanted(value: float | None, field: str) -> float:
    if value is None:
        raise InvalidInput(field, "is wanted for this metric")
    return value


def _unwanted(value: float | None, field: str, why: str) -> None:
    if value is not None:
        raise InvalidInput(field, why)
