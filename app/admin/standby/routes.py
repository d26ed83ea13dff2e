"""After a promotion: the standby, and whether it would be better today."""

from datetime import datetime
from math import exp, inf
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.admin.dependencies import InMeans, InModel
from app.admin.fields import WeightBp
from app.admin.view import View
from app.domain.standby.monitor import EndedBy, Seen
from app.queries.standby import latest_watch
from app.queries.stored import Watched
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["rollouts"])


class SeenView(View):
    """One version's answers since the promotion."""

    answers: Annotated[int, Field(description="Of a quality metric, those with a label that is old enough.")]
    bad: Annotated[float, Field(description="Of a quality metric the sum of losses between 0 and 1.")]

    @classmethod
    def of_seen(cls, seen: Seen) -> "SeenView":
        return cls(answers=seen.judged, bad=seen.bad)


class SuspicionView(View):
    """Both versions by one kind of bad answer."""

    stable: SeenView
    standby: SeenView


class WatchView(View):
    """A promoted version beside the one it took the place of."""

    model: str
    rollout_id: str
    stable: str
    standby: str
    standby_bp: WeightBp
    started_at: datetime
    until: datetime
    ended_at: datetime | None
    ended_by: EndedBy | None
    log_m: Annotated[
        float | None, Field(description="Evidence that stable has become the worse one, natural logarithm; null: none.")
    ]
    log_limit: Annotated[float, Field(description="Where that makes the standby stable again.")]
    false_alarm_buckets: Annotated[int, Field(description="Buckets per false alarm, on average at least.")]
    bucket_s: int
    acts: Annotated[bool, Field(description="Whether bad answers turn back, as the policy's errors say, or are told.")]
    found: Annotated[list[str], Field(description="What is so now: `decay`, or `external` where both got worse.")]
    suspicions: Annotated[dict[str, SuspicionView], Field(description="By `answers`, or a quality metric's name.")]

    @classmethod
    def of_watch(cls, watched: Watched) -> "WatchView":
        watch = watched.watch
        log_m = watch.log_m
        return cls(
            model=watch.model,
            rollout_id=watch.rollout_id,
            stable=watch.stable,
            standby=watch.standby,
            standby_bp=watch.standby_bp,
            started_at=watch.started_at,
            until=watch.until,
            ended_at=watched.ended_at,
            ended_by=watched.ended_by,
            log_m=None if log_m == -inf else log_m,
            log_limit=watch.log_limit,
            false_alarm_buckets=round(exp(watch.log_limit)),
            bucket_s=watch.bucket_s,
            acts=watch.acts,
            found=list(watch.told),
            suspicions={
                kind: SuspicionView(
                    stable=SeenView.of_seen(suspicion.stable_total), standby=SeenView.of_seen(suspicion.standby_total)
                )
                for kind, suspicion in watch.suspicions.items()
            },
        )


@router.get("/{model}/watch", summary="The standby after the last promotion, and whether it would be better today")
async def read_watch(model: InModel, means: InMeans) -> WatchView:
    return WatchView.of_watch(await latest_watch(means, model))
