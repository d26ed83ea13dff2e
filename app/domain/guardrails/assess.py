"""From tallies to a verdict: let each guardrail speak, average their evidence, say the worst."""

from collections.abc import Sequence
from math import log

from app.domain.catalog.policy import Guardrail, Policy
from app.domain.evidence.estimates import BAD, JUDGED, drawn_by_coin, rates
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.impossible_counts import flaw_of
from app.domain.evidence.tally import Horizon
from app.domain.guardrails.common_cause import Judged, held_by_guardrail, reason_to_hold, way_forward
from app.domain.guardrails.drift import judge_inputs
from app.domain.guardrails.errors import error_excess_bound, exposure_guardrail
from app.domain.guardrails.finding import Assessment, Cause, Finding, Trigger, Verdict
from app.domain.guardrails.kind import MIN_ANSWERS
from app.domain.guardrails.registry import judge, kind_of, share_of
from app.domain.guardrails.split import judge_split
from app.domain.stats.eprocess import log_weighted_mean


def assess(evidence: Evidence, policy: Policy) -> Assessment:  # ADR 0006
    """What all evidence read so far says; a pure function of the two, so it can be replayed."""
    flaw = flaw_of(evidence)
    if flaw is not None:
        return _void(evidence, policy, flaw)
    findings = tuple(judge(evidence, policy, each) for each in policy.guardrails)
    judged = tuple(zip(policy.guardrails, findings, strict=True))
    trust = _trust(evidence)
    log_e, trigger = _together(policy, judged)
    hold = reason_to_hold(evidence, policy, judged)
    epochs = drawn_by_coin(evidence)
    canary_answers = sum(epoch.canary.judged for epoch in epochs.values())
    seen = rates(epochs, BAD, JUDGED)
    return Assessment(
        verdict=_overall(judged, trust, log_e, canary_answers, policy),
        findings=(*findings, *trust),
        log_e=log_e,
        trigger=trigger,
        excess_bound=error_excess_bound(evidence, policy),
        exchanges_per_s=evidence.exchanges_per_s,
        canary_answers=canary_answers,
        stable_answers=sum(epoch.stable.judged for epoch in epochs.values()),
        extra_bad=seen.extra if seen else 0.0,
        read_through_s=evidence.read_through[Horizon.STATUS],
        hold=hold,
        unverified=tuple(each.metric for each, finding in judged if _is_unverified(each, finding, policy)),
        forward=way_forward(evidence, policy),
    )


def _void(evidence: Evidence, policy: Policy, flaw: str) -> Assessment:
    """Nothing is said of counts that cannot be, but that they cannot."""
    sentence = f"The counts of {evidence.canary} and {evidence.stable} cannot be: {flaw}; the comparison is void."
    finding = Finding(Cause.COUNTS, Verdict.INVALID, None, None, sentence)
    trigger = Trigger(exposure_guardrail(policy).metric)
    return Assessment(Verdict.INVALID, (finding,), 0.0, trigger, read_through_s=evidence.read_through[Horizon.STATUS])


def _together(policy: Policy, judged: Judged) -> tuple[float, Trigger]:
    """Log of the average evidence of the guardrails that turn back, and the one that weighs most in it."""
    parts = [
        (share_of(policy, each), finding.log_e_worse or 0.0, finding.trigger)
        for each, finding in judged
        if each.turns_back
    ]
    if not parts:
        return 0.0, Trigger(exposure_guardrail(policy).metric)
    *_, heaviest = max(parts, key=lambda part: log(part[0]) + part[1])
    return log_weighted_mean((share, log_e) for share, log_e, _ in parts), heaviest


def _trust(evidence: Evidence) -> tuple[Finding, ...]:
    """Whether the comparison can be trusted: the coin's split, and what both arms were asked."""
    inputs = judge_inputs(evidence)
    return (judge_split(evidence), *(() if inputs is None else (inputs,)))


def _overall(judged: Judged, trust: Sequence[Finding], log_e: float, canary_answers: int, policy: Policy) -> Verdict:
    """The first that holds, the gravest first."""
    if log_e >= log(1.0 / policy.alpha_rollback):
        return Verdict.REGRESSED
    if any(each.verdict is Verdict.INVALID for each in trust):
        return Verdict.INVALID
    if log_e >= log(policy.freeze_at) or held_by_guardrail(judged) is not None:
        return Verdict.INCONCLUSIVE_WORSE
    if not canary_answers:
        return Verdict.NO_EVENTS
    proven = all(_is_proven(each, finding, policy) for each, finding in judged if each.is_waited_for)
    if log_e < log(policy.thaw_below) and proven:
        return Verdict.HEALTHY
    return Verdict.INSUFFICIENT_DATA if canary_answers < MIN_ANSWERS else Verdict.INCONCLUSIVE_HEALTHY


def _is_proven(guardrail: Guardrail, finding: Finding, policy: Policy) -> bool:
    """Not worse beyond reasonable doubt; timeouts are proven together with errors, and of some nothing is proven."""
    if not kind_of(guardrail.metric).is_proven:
        return True
    return finding.log_e_not_worse is not None and finding.log_e_not_worse >= log(1.0 / policy.alpha_promotion)


def _is_unverified(guardrail: Guardrail, finding: Finding, policy: Policy) -> bool:
    """Whether promotion would say that nobody knows: not waited for, and not proven."""
    return not guardrail.dry_run and not guardrail.is_waited_for and not _is_proven(guardrail, finding, policy)
