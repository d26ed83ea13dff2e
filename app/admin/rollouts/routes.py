"""Rollouts: started, ordered and read."""

from typing import Literal

from fastapi import APIRouter, Response
from starlette.convertors import StringConvertor, register_url_convertor

from app.actions.recalls import tell_recall
from app.actions.rollouts import order, start_rollout
from app.admin.dependencies import Actor, InMeans, InModel, InRollout, InServices
from app.admin.history.views import DecisionView
from app.admin.pages import Cursor, Limit, Page, after_cursor, next_cursor
from app.admin.rollouts.bodies import ActionBody, PolicyBody, RolloutBody
from app.admin.rollouts.views import RolloutSummary, RolloutView
from app.domain.guardrails.policy import default_guardrails
from app.domain.rollout.rollout import Aborted, Event, Paused, PromotionOrdered, Resumed, RollbackOrdered, RolloutId
from app.queries.models import registered_model
from app.queries.rollouts import rollouts_of_model, stored_rollout
from app.web.strict_route import StrictRoute


class _WithoutAction(StringConvertor):
    """A segment that no action follows, so that the path of an action is not a rollout's as well."""

    regex = "[^/:]+"


register_url_convertor("without_action", _WithoutAction())
router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["rollouts"])

Order = Literal["pause", "resume", "promote", "rollback", "abort"]
EVENTS: dict[Order, Event] = {
    "pause": Paused(),
    "resume": Resumed(),
    "promote": PromotionOrdered(),
    "rollback": RollbackOrdered(),
    "abort": Aborted(),
}


@router.post("/models/{model}/rollouts", status_code=201, summary="Start the rollout of a canary")
async def post_rollout(
    model: InModel, body: RolloutBody, given: InServices, who: Actor, response: Response
) -> RolloutView:
    usual = default_guardrails(await registered_model(given.means, model))
    policy = (body.policy or PolicyBody()).to_domain(usual)
    rollout, decision = await start_rollout(
        given.means, model, body.canary_name(), policy, actor=who, reason=body.reason
    )
    given.note(decision)
    response.headers["location"] = f"/v1/rollouts/{rollout.id}"
    return RolloutView.of(rollout)


@router.get("/models/{model}/rollouts", summary="List a model's rollouts, the newest first")
async def list_rollouts(
    model: InModel, means: InMeans, limit: Limit = 50, cursor: Cursor = None
) -> Page[RolloutSummary]:
    before = after_cursor(cursor)
    found = await rollouts_of_model(means, model, limit=limit, before=RolloutId(before) if before else None)
    return Page(
        items=[RolloutSummary.of(rollout) for rollout in found],
        next_cursor=next_cursor([rollout.id for rollout in found], limit),
    )


@router.get("/rollouts/{rollout_id:without_action}", summary="One rollout with its policy, counts and findings")
async def read_rollout(rollout_id: InRollout, means: InMeans) -> RolloutView:
    return RolloutView.of(await stored_rollout(means, rollout_id))


@router.post("/rollouts/{rollout_id}:{action}", summary="Pause, resume, promote, roll back or abort")
async def post_order(
    rollout_id: InRollout, action: Order, body: ActionBody, given: InServices, who: Actor
) -> DecisionView:
    event = EVENTS[action]
    decision = await order(given.means, rollout_id, event, actor=who, reason=body.reason, force=body.force)
    await tell_recall(given.means, decision)
    given.note(decision)
    return DecisionView.of_decision(decision)
