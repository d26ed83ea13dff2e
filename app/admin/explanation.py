"""Explanations: why a rollout is where it is, in words and in figures that cannot mislead."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.admin.dependencies import InMeans, InModel, InRollout
from app.admin.fields import WeightBp
from app.admin.history.views import DecisionView
from app.admin.metrics import MetricName
from app.admin.models.views import MirrorView
from app.admin.rollouts.views import ArmView, RolloutView
from app.domain.catalog.models import VersionName
from app.domain.evidence.tally import Counter, Outcome, Tally
from app.domain.reports.explanation import AtWeight, Certainty
from app.queries.explanation import (
    ExplainedMirror,
    ExplainedModel,
    ExplainedRollout,
    model_explanation,
    rollout_explanation,
)
from app.queries.stored import Decision
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["rollouts"])

Share = Annotated[float | None, Field(description="A share, null where there are no answers.")]


class EvidenceView(BaseModel):
    """The evidence against the canary, and its lines; the logarithm is natural, the lines are e-values."""

    log_e: float
    suspicious_at: float
    turned_back_at: float
    p: Annotated[float, Field(description="1/E; never to be shown without `p_means`.")]
    p_means: str


class AtWeightView(BaseModel):
    """Both arms at one weight, and their shares of bad answers there."""

    weight_bp: WeightBp
    canary: ArmView
    stable: ArmView
    canary_rate: Share
    stable_rate: Share

    @classmethod
    def of(cls, at: AtWeight) -> "AtWeightView":
        return cls(
            weight_bp=at.weight_bp,
            canary=ArmView.of(at.canary),
            stable=ArmView.of(at.stable),
            canary_rate=at.canary_rate,
            stable_rate=at.stable_rate,
        )


class CertaintyView(BaseModel):
    """What is certain of one rate: the inversion of the process that turns back."""

    metric: MetricName
    canary_rate: float
    stable_rate: Annotated[float, Field(description="Standardised to the canary's mix of weights.")]
    least_ratio: Annotated[float | None, Field(description="The canary's over stable's, at least; null: no bound yet.")]
    ratio_confidence: float
    sentence: str

    @classmethod
    def of(cls, certain: Certainty) -> "CertaintyView":
        return cls(
            metric=certain.metric,
            canary_rate=certain.canary_rate,
            stable_rate=certain.stable_rate,
            least_ratio=certain.least_ratio,
            ratio_confidence=certain.ratio_confidence,
            sentence=certain.sentence,
        )


class ExcessView(BaseModel):
    """The inversion of the process that promotes: at most so many more of the canary's answers are bad."""

    at_most: float
    confidence: float
    sentence: str


class NotCountedView(BaseModel):
    """Of one version in the last hour: what is no evidence."""

    version: str
    exchanges: Annotated[int, Field(description="All that the coin drew for it.")]
    excluded: Annotated[int, Field(description="Served without a coin: second attempts, brakes, forced.")]
    forced: Annotated[int, Field(description="Of the excluded: an operator chose the version.")]
    cancelled: Annotated[int, Field(description="The client left; never held against a version.")]

    @classmethod
    def of(cls, version: VersionName, tally: Tally) -> "NotCountedView":
        return cls(
            version=version,
            exchanges=tally.exchanges,
            excluded=tally.excluded,
            forced=tally.counters.get(Counter.FORCED, 0),
            cancelled=tally.outcomes.get(Outcome.CANCELLED, 0),
        )


class MomentView(BaseModel):
    """One decision on the rollout's time line, with the evidence it had."""

    id: str
    at: datetime
    action: str
    actor: str
    trigger: str
    sentence: str
    log_e: float | None
    weights_after_bp: dict[str, WeightBp]

    @classmethod
    def of(cls, decision: Decision) -> "MomentView":
        numbers = decision.evidence.get("numbers")
        log_e = numbers.get("log_e") if isinstance(numbers, dict) else None
        return cls(
            id=decision.id,
            at=decision.at,
            action=decision.action,
            actor=decision.actor,
            trigger=decision.trigger,
            sentence=decision.sentence,
            log_e=log_e if isinstance(log_e, int | float) else None,
            weights_after_bp={str(name): weight for name, weight in decision.weights_after.items()},
        )


class ExplanationView(BaseModel):
    """Why a rollout is where it is; its assessment says what would change that."""

    sentence: str
    evidence: EvidenceView
    weights: list[AtWeightView]
    certain: list[CertaintyView]
    excess: ExcessView
    behind_s: Annotated[
        float | None, Field(description="Seconds from the last second that was read to now; null when it has ended.")
    ]
    not_counted: list[NotCountedView]
    history: Annotated[list[MomentView], Field(description="The newest decisions, the oldest of them first.")]

    @classmethod
    def of(cls, explained: ExplainedRollout) -> "ExplanationView":
        said = explained.explanation
        return cls(
            sentence=said.sentence,
            evidence=EvidenceView(
                log_e=said.log_e,
                suspicious_at=said.suspicious_at,
                turned_back_at=said.turned_back_at,
                p=said.p,
                p_means=said.p_means,
            ),
            weights=[AtWeightView.of(each) for each in said.weights],
            certain=[CertaintyView.of(each) for each in said.certain],
            excess=ExcessView(
                at_most=said.excess_at_most, confidence=said.excess_confidence, sentence=said.excess_sentence
            ),
            behind_s=explained.behind_s,
            not_counted=[NotCountedView.of(*each) for each in explained.not_counted.items()],
            history=[MomentView.of(each) for each in explained.history],
        )


class PairedView(BaseModel):
    """What the pairs say: each exchange was answered by both versions."""

    pairs: int
    mirror_only_failed: int
    primary_only_failed: int
    log_e: Annotated[float, Field(description="Natural log of the evidence that the mirror fails more often.")]
    sentence: str


class ExplainedMirrorView(BaseModel):
    """A mirror and what it showed since it was last set, as far as its counters are kept."""

    mirror: MirrorView
    since: datetime
    counters: dict[Counter, int]
    paired: PairedView

    @classmethod
    def of(cls, explained: ExplainedMirror | None) -> "ExplainedMirrorView | None":
        if explained is None:
            return None
        paired = explained.paired
        return cls(
            mirror=MirrorView(version=explained.mirror.version, share_bp=explained.mirror.share_bp),
            since=explained.since,
            counters=dict(explained.counters),
            paired=PairedView(
                pairs=paired.pairs,
                mirror_only_failed=paired.mirror_only_failed,
                primary_only_failed=paired.primary_only_failed,
                log_e=paired.log_e,
                sentence=paired.sentence,
            ),
        )


class ModelExplanationView(BaseModel):
    """A model's running or last rollout, its mirror and its last decision; null where there is none."""

    model: str
    rollout: RolloutView | None
    explanation: ExplanationView | None
    mirror: ExplainedMirrorView | None
    decision: DecisionView | None

    @classmethod
    def of(cls, model: str, explained: ExplainedModel) -> "ModelExplanationView":
        rollout, decision = explained.rollout, explained.decision
        return cls(
            model=model,
            rollout=None if rollout is None else RolloutView.of(rollout.rollout),
            explanation=None if rollout is None else ExplanationView.of(rollout),
            mirror=ExplainedMirrorView.of(explained.mirror),
            decision=None if decision is None else DecisionView.of_decision(decision),
        )


@router.get("/rollouts/{rollout_id}/explanation", summary="Why a rollout is where it is")
async def read_rollout_explanation(rollout_id: InRollout, means: InMeans) -> ExplanationView:
    return ExplanationView.of(await rollout_explanation(means, rollout_id))


@router.get("/models/{model}/explanation", summary="Why a model stands where it stands")
async def read_model_explanation(model: InModel, means: InMeans) -> ModelExplanationView:
    return ModelExplanationView.of(model, await model_explanation(means, model))
