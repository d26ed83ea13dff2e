"""A model's past rollouts under a policy they did not have."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.admin.dependencies import InMeans, known_model
from app.admin.fields import Name, WeightBp
from app.admin.rollouts.bodies import PolicyBody
from app.admin.rollouts.views import RolloutSummary
from app.admin.view import View
from app.domain.guardrails.finding import Assessment, Verdict
from app.domain.rollout.rollout import Action, Phase
from app.domain.rollout.simulation import Fate, Retrial, Step
from app.queries.simulation import ROLLOUTS_MAX, Retold, Simulation, simulate
from app.web.strict_body import Body
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["policies"])

WEEK_S = 7 * 86_400.0


class SimulationBody(Body):
    """Whose rollouts to judge again, and by what."""

    model: Name
    policy: PolicyBody
    history_s: Annotated[float, Field(ge=1.0, le=366 * 86_400.0, description="How long ago they may have begun.")] = (
        WEEK_S
    )
    limit: Annotated[int, Field(ge=1, le=ROLLOUTS_MAX, description="Most rollouts, the newest.")] = 20


class EndingView(View):
    """How a rollout ended, or was left; about so many bad answers stable would not have given."""

    fate: Fate
    phase: Phase
    at: datetime
    canary_answers: int
    extra_bad: float


class LastDecisionView(View):
    """The decision that left a rollout where it is."""

    id: str
    action: str
    actor: str
    trigger: str
    sentence: str


class StepView(View):
    """One decision the policy would have taken."""

    at: datetime
    action: Action
    trigger: str
    weight_bp: WeightBp
    sentence: str

    @classmethod
    def of_step(cls, step: Step) -> "StepView":
        made = step.resolution
        return cls(
            at=step.at, action=made.action, trigger=str(made.trigger), weight_bp=step.weight_bp, sentence=made.sentence
        )


class SeenView(View):
    """What the last look saw; the logarithm is natural."""

    verdict: Verdict
    log_e: float
    trigger: str

    @classmethod
    def of_seen(cls, seen: Assessment) -> "SeenView":
        return cls(verdict=seen.verdict, log_e=seen.log_e, trigger=str(seen.trigger))


class RetrialView(View):
    """How a rollout would have gone."""

    ending: EndingView
    seen: SeenView
    steps: list[StepView]
    looks: int
    elsewhere: Annotated[int, Field(description="Looks at which the weight was not what this policy would have said.")]

    @classmethod
    def of_retrial(cls, retrial: Retrial) -> "RetrialView":
        return cls(
            ending=EndingView.of(retrial.ending),
            seen=SeenView.of_seen(retrial.seen),
            steps=[StepView.of_step(step) for step in retrial.steps],
            looks=retrial.looks,
            elsewhere=retrial.elsewhere,
        )


class RetoldView(View):
    """One past rollout: what happened, what would have, and what cannot be known."""

    rollout: RolloutSummary
    sentence: str
    was: EndingView
    decision: LastDecisionView | None
    would_be: RetrialView | None
    unknown: list[str]

    @classmethod
    def of_retold(cls, retold: Retold) -> "RetoldView":
        return cls(
            rollout=RolloutSummary.of(retold.rollout),
            sentence=retold.sentence,
            was=EndingView.of(retold.was),
            decision=None if retold.last is None else LastDecisionView.of(retold.last),
            would_be=None if retold.retrial is None else RetrialView.of_retrial(retold.retrial),
            unknown=list(retold.unknown),
        )


class SimulationView(View):
    """A model's rollouts of some time under another policy, the newest first."""

    model: str
    since: datetime
    until: datetime
    items: list[RetoldView]

    @classmethod
    def of_simulation(cls, model: str, simulation: Simulation) -> "SimulationView":
        return cls(
            model=model,
            since=simulation.since,
            until=simulation.until,
            items=[RetoldView.of_retold(retold) for retold in simulation.retold],
        )


@router.post("/policies:simulate", summary="Judge a model's past rollouts again under another policy")
async def post_simulation(body: SimulationBody, means: InMeans) -> SimulationView:
    policy, model = body.policy.to_domain(), known_model(body.model)
    history = timedelta(seconds=body.history_s)
    return SimulationView.of_simulation(model, await simulate(means, model, policy, history, limit=body.limit))
