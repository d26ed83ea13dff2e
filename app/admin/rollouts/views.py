"""Rollouts as the admin API shows them: phase, policy, evidence, and what the evidence says."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.admin.fields import WeightBp
from app.admin.metrics import MetricName
from app.domain.catalog.policy import OnDeadline, OnRegression, Policy
from app.domain.evidence.evidence import ArmCounts, Evidence
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Assessment, Finding, Verdict
from app.domain.reports import outlook
from app.domain.rollout.rollout import Phase, Rollout


class GuardrailView(BaseModel):
    """One limit; a number is null where it means nothing for the metric."""

    metric: MetricName
    on_regression: OnRegression
    required: bool
    dry_run: bool
    margin: float | None
    floor: float | None
    quantile: float | None
    of: str | None


class OfflineLimitView(BaseModel):
    """What the canary's offline evaluation must not fall short of."""

    metric: str
    margin: float
    lower_is_better: bool


class PolicyView(BaseModel):
    """How much proof and how much harm."""

    alpha_rollback: float
    alpha_promotion: float
    freeze_at: float
    thaw_below: float
    max_extra_bad: float
    max_unlabelled: int
    max_weight_bp: int
    warmup_s: float
    coverage_s: float
    deadline_s: float
    hold_s: float
    on_deadline: OnDeadline
    deadline_margin: float | None
    error_ceiling: float | None
    watch_s: float
    standby_bp: int
    offline: list[OfflineLimitView]
    guardrails: list[GuardrailView]

    @classmethod
    def of(cls, policy: Policy) -> "PolicyView":
        return cls.model_validate(asdict(policy))


class FindingView(BaseModel):
    """What one guardrail says; logarithms are natural, null where nothing can be said."""

    metric: str
    verdict: Verdict
    log_e_worse: float | None
    log_e_not_worse: float | None
    sentence: str
    numbers: dict[str, float]
    dry_run: Annotated[bool, Field(description="Shown; never acts.")]

    @classmethod
    def of(cls, finding: Finding) -> "FindingView":
        return cls(
            metric=str(finding.trigger),
            verdict=finding.verdict,
            log_e_worse=finding.log_e_worse,
            log_e_not_worse=finding.log_e_not_worse,
            sentence=finding.sentence,
            numbers=dict(finding.numbers),
            dry_run=finding.dry_run,
        )


class AssessmentView(BaseModel):
    """What all evidence read so far says."""

    verdict: Verdict
    log_e: Annotated[float, Field(description="Natural log of the evidence that the canary is worse.")]
    trigger: str
    excess_bound: float
    exchanges_per_s: float
    canary_answers: int
    stable_answers: int
    extra_bad: float
    read_through_s: int | None
    eta_s: float | None
    smallest_effect: float | None
    held_by: Annotated[str | None, Field(description="What keeps the canary at its lowest weight.")]
    held_because: str | None
    unverified: Annotated[list[str], Field(description="Not proven, and promotion does not wait for it.")]
    forward: Annotated[str | None, Field(description="Why promotion need not wait for coverage.")]
    wants: Annotated[list[str], Field(description="What would change the decision, roughly.")]
    findings: list[FindingView]

    @classmethod
    def of(cls, seen: Assessment, ahead: outlook.Outlook) -> "AssessmentView":
        return cls(
            verdict=seen.verdict,
            log_e=seen.log_e,
            trigger=str(seen.trigger),
            excess_bound=seen.excess_bound,
            exchanges_per_s=seen.exchanges_per_s,
            canary_answers=seen.canary_answers,
            stable_answers=seen.stable_answers,
            extra_bad=seen.extra_bad,
            read_through_s=seen.read_through_s,
            eta_s=ahead.eta_s,
            smallest_effect=ahead.smallest_effect,
            held_by=seen.held_by,
            held_because=None if seen.hold is None else seen.hold.because,
            unverified=list(seen.unverified),
            forward=seen.forward,
            wants=list(ahead.wants),
            findings=[FindingView.of(finding) for finding in seen.findings],
        )


class ArmView(BaseModel):
    """What one arm did; `judged` excludes what the client broke off, `slow` is one count per threshold."""

    drawn: int
    ended: int
    judged: int
    errors: int
    timeouts: int
    timed: int
    slow: list[int]
    awaited: int

    @classmethod
    def of(cls, counts: ArmCounts) -> "ArmView":
        return cls.model_validate(counts, from_attributes=True)


class WeightCounts(BaseModel):
    """Both arms at one canary weight."""

    canary_weight_bp: WeightBp
    canary: ArmView
    stable: ArmView

    @classmethod
    def of_all(cls, evidence: Evidence) -> "list[WeightCounts]":
        return [
            cls(canary_weight_bp=bp, canary=ArmView.of(counts.canary), stable=ArmView.of(counts.stable))
            for bp, counts in sorted(evidence.by_weight.items())
        ]


class RolloutSummary(BaseModel):
    """A rollout in one line."""

    id: str
    model: str
    stable: str
    canary: str
    phase: Phase
    weight_bp: WeightBp
    started_at: datetime
    phase_since: datetime

    @classmethod
    def of(cls, rollout: Rollout) -> "RolloutSummary":
        return cls(**_summary(rollout))


class RolloutView(RolloutSummary):
    """A rollout with its policy and all evidence."""

    phase_deadline: datetime | None
    held_from: Phase | None
    frozen_by: Annotated[str | None, Field(description="What froze it last.")]
    first_exposed_at: datetime | None
    brake_open_since: datetime | None
    counted_per: Annotated[
        Literal["exchange", "caller"], Field(description="Of a sticky model only each caller's first exchange counts.")
    ]
    policy: PolicyView
    assessment: AssessmentView
    advice: Annotated[list[str], Field(description="What the traffic before the start cannot show in time.")]
    counts: list[WeightCounts]

    @classmethod
    def of(cls, rollout: Rollout) -> "RolloutView":
        seen = assess(rollout.evidence, rollout.policy)
        return cls(
            **_summary(rollout),
            phase_deadline=rollout.phase_deadline,
            held_from=rollout.held_from,
            frozen_by=rollout.frozen_by,
            first_exposed_at=rollout.first_exposed_at,
            brake_open_since=rollout.brake_open_since,
            counted_per="caller" if rollout.evidence.per_caller else "exchange",
            policy=PolicyView.of(rollout.policy),
            assessment=AssessmentView.of(seen, outlook.outlook(rollout.evidence, rollout.policy, seen)),
            advice=list(outlook.advice(rollout.evidence, rollout.policy)),
            counts=WeightCounts.of_all(rollout.evidence),
        )


def _summary(rollout: Rollout) -> dict[str, Any]:
    return {
        "id": rollout.id,
        "model": rollout.model,
        "stable": rollout.stable,
        "canary": rollout.canary,
        "phase": rollout.phase,
        "weight_bp": rollout.weight_bp,
        "started_at": rollout.started_at,
        "phase_since": rollout.phase_since,
    }
