"""A rollout that is led somewhere, one event after the other, by assessments made up for the purpose."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import log

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import Metric, Policy
from app.domain.evidence.tally import Tally
from app.domain.guardrails.finding import Assessment, Cause, Finding, Hold, Verdict
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import (
    Action,
    Assessed,
    Effect,
    Event,
    Rollout,
    RolloutId,
    Started,
    Transition,
    begin,
)
from app.domain.rollout.transitions import advance

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
STABLE, CANARY = VersionName("v1"), VersionName("v2")
POLICY = replace(DEFAULT_POLICY, warmup_s=5.0, deadline_s=3_600.0, hold_s=600.0)


def pending(policy: Policy = POLICY, *, per_caller: bool = False) -> Rollout:
    return begin(RolloutId("r1"), ModelName("fraud"), STABLE, CANARY, policy, Tally(), NOON, per_caller=per_caller)


def saw(log_e: float = 0.0, verdict: Verdict | None = None, per_s: float = 10.0, bound: float = 0.001) -> Assessment:
    """An assessment as `analysis.assess` would give it for this evidence."""
    if verdict is None:
        verdict = Verdict.INCONCLUSIVE_HEALTHY
        if log_e >= log(10):
            verdict = Verdict.REGRESSED if log_e >= log(100) else Verdict.INCONCLUSIVE_WORSE
    findings = (
        Finding(
            Metric("errors"),
            Verdict.INSUFFICIENT_DATA if verdict is Verdict.INVALID else verdict,
            log_e,
            None,
            "Error rate 2.00 % for v2, 1.00 % for v1.",
        ),
        Finding(
            Cause.SPLIT,
            Verdict.INVALID if verdict is Verdict.INVALID else Verdict.HEALTHY,
            0.0,
            None,
            "v2 was drawn 5 times where 5 were expected.",
        ),
    )
    return Assessment(
        verdict,
        findings,
        log_e,
        findings[0].trigger,
        excess_bound=bound,
        exchanges_per_s=per_s,
        canary_answers=1_000,
    )


def held(by: str, seen: Assessment | None = None) -> Assessment:
    """The same with a reason for the lowest weight."""
    return replace(seen or saw(), hold=Hold(Metric(by), "it answers too badly of late"))


def look(seen: Assessment | None = None) -> Assessed:
    return Assessed(seen or saw(), canary_ready=True)


class Walk:
    """A rollout that is led somewhere, one event after the other."""

    def __init__(self, policy: Policy = POLICY, *, per_caller: bool = False) -> None:
        self.now = NOON
        self.rollout = pending(policy, per_caller=per_caller)
        self.last = Transition(self.rollout)
        self.phases = [self.rollout.phase]

    def take(self, *events: Event, after: float = 1.0) -> "Walk":
        for event in events:
            self.now += timedelta(seconds=after)
            self.last = advance(self.rollout, event, self.now)
            self.rollout = self.last.rollout
            self.phases.append(self.rollout.phase)
        return self

    def to_ramp(self) -> "Walk":
        return self.take(Started()).take(look(), after=5.0)

    def did(self, *effects: Effect) -> bool:
        return self.last.effects == effects

    @property
    def action(self) -> Action | None:
        return self.last.resolution.action if self.last.resolution else None
