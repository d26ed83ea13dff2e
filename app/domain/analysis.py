"""From tallies to a verdict: let each guardrail speak, average their evidence, say the worst."""

from collections.abc import Sequence
from math import log

from app.domain.estimates import BAD, JUDGED, drawn_by_coin, rates
from app.domain.evidence import log_weighted_mean
from app.domain.finding import Assessment, Finding, Verdict
from app.domain.forecast import eta_s, smallest_visible_effect
from app.domain.guardrails import JUDGES, MIN_ANSWERS, error_excess_bound, judge_split, shares, turns_back
from app.domain.ledger import Evidence, absorb
from app.domain.policy import Metric, Policy
from app.domain.tally import Horizon

__all__ = ["Assessment", "Evidence", "Finding", "Verdict", "absorb", "assess"]


def assess(evidence: Evidence, policy: Policy) -> Assessment:
    """What all evidence read so far says; a pure function of the two, so it can be replayed."""
    findings = tuple(JUDGES[each.metric](evidence, policy, each) for each in policy.guardrails)
    split = judge_split(evidence)
    live = tuple(finding for finding in findings if not finding.dry_run)
    log_e, trigger = _together(policy, findings)
    epochs = drawn_by_coin(evidence)
    canary_answers = sum(epoch.canary.judged for epoch in epochs.values())
    seen = rates(epochs, BAD, JUDGED)
    return Assessment(
        verdict=_overall(live, split, log_e, canary_answers, policy),
        findings=(*findings, split),
        log_e=log_e,
        trigger=trigger,
        excess_bound=error_excess_bound(evidence, policy),
        exchanges_per_s=evidence.exchanges_per_s,
        canary_answers=canary_answers,
        stable_answers=sum(epoch.stable.judged for epoch in epochs.values()),
        extra_bad=seen.extra if seen else 0.0,
        read_through_s=evidence.read_through[Horizon.STATUS],
        eta_s=eta_s(evidence, policy, log_e),
        smallest_effect=smallest_visible_effect(evidence, policy),
    )


def _together(policy: Policy, findings: Sequence[Finding]) -> tuple[float, str]:
    """Log of the average evidence of the guardrails that turn back, and the metric that weighs most in it."""
    pi = shares(policy)
    parts = {
        str(each.metric): (pi[each.metric], finding.log_e_worse or 0.0)
        for each, finding in zip(policy.guardrails, findings, strict=True)
        if turns_back(each)
    }
    if not parts:
        return 0.0, str(Metric.ERRORS)
    heaviest = max(parts, key=lambda metric: log(parts[metric][0]) + parts[metric][1])
    return log_weighted_mean(parts.values()), heaviest


def _overall(findings: Sequence[Finding], split: Finding, log_e: float, canary_answers: int, policy: Policy) -> Verdict:
    """The first that holds, the gravest first."""
    if log_e >= log(1.0 / policy.alpha_rollback):
        return Verdict.REGRESSED
    if split.verdict is Verdict.INVALID:
        return Verdict.INVALID
    if log_e >= log(policy.freeze_at):
        return Verdict.INCONCLUSIVE_WORSE
    if not canary_answers:
        return Verdict.NO_EVENTS
    if log_e < log(policy.thaw_below) and all(_proven(finding, policy) for finding in findings):
        return Verdict.HEALTHY
    return Verdict.INSUFFICIENT_DATA if canary_answers < MIN_ANSWERS else Verdict.INCONCLUSIVE_HEALTHY


def _proven(finding: Finding, policy: Policy) -> bool:
    """Not worse beyond reasonable doubt; timeouts are proven together with errors."""
    if finding.verdict is Verdict.INSUFFICIENT_DATA and finding.log_e_worse is None:
        return False
    return finding.log_e_not_worse is None or finding.log_e_not_worse >= log(1.0 / policy.alpha_promotion)
