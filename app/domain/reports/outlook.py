"""What would change the decision, and what this traffic cannot show: sentences for people.

Rule: figures here are rough and say so; nothing is decided by them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, inf, isfinite, log

from app.domain.catalog.policy import Metric, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.estimates import BAD, DRAWN, ERRORS, JUDGED, drawn_by_coin, outcomes, rates
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.tally import Horizon
from app.domain.guardrails.finding import Assessment, Finding, Verdict
from app.domain.guardrails.limits import error_margin, error_score, log_limit, shares
from app.domain.guardrails.sentences import about, frequency, points
from app.domain.rollout.wording import span_text
from app.domain.stats.harm import bad_until
from app.domain.stats.planning import exchanges_to_refute, overlap_to_prove, smallest_effect

# Further than this nobody plans.
_MOST_BAD = 100
_PROVEN = {
    Metric.VALIDITY: "gives no more flawed answers, and different ones where {stable} does",
    Metric.COST: "is no dearer than it may be",
}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What people may expect of a rollout that is not decided.

    Attributes:
        eta_s: Rough seconds to a decision at this rate, None when it cannot be said.
        smallest_effect: Smallest excess rate of errors that shows before the deadline, or None.
        wants: What would change the decision, one clause each.
    """

    eta_s: float | None = None
    smallest_effect: float | None = None
    wants: tuple[str, ...] = ()


def outlook(evidence: Evidence, policy: Policy, seen: Assessment) -> Outlook:
    """What follows from what was counted; `seen` is the assessment of the two. Nothing where the evidence is void."""
    if seen.verdict is Verdict.INVALID:
        return Outlook()
    return Outlook(
        eta_s(evidence, policy, seen.log_e),
        smallest_visible_effect(evidence, policy),
        _wants(evidence, policy, seen),
    )


def _wants(evidence: Evidence, policy: Policy, seen: Assessment) -> tuple[str, ...]:
    """What would turn the canary back, and what promotion still waits for; nothing once it is decided."""
    if seen.verdict in {Verdict.REGRESSED, Verdict.HEALTHY}:
        return ()
    return (*_to_turn_back(evidence, policy, seen), *_to_promote(evidence, policy, seen))


def _to_turn_back(evidence: Evidence, policy: Policy, seen: Assessment) -> Iterator[str]:
    more = bad_answers_to_turn_back(evidence, policy, seen)
    if more is not None:
        answers = "one more bad answer" if more == 1 else f"{more:,} more bad answers"
        turn = "turns" if more == 1 else "turn"
        yield f"{answers} of {evidence.canary} {turn} it back, if {evidence.stable} gives none"


def bad_answers_to_turn_back(evidence: Evidence, policy: Policy, seen: Assessment) -> int | None:
    """How many more errors of the canary, at its highest weight so far, reach alpha_rollback; None if too many."""
    share = shares(policy).get(Metric.ERRORS)
    weight = highest_weight(evidence)
    if share is None or weight is None:
        return None
    errors = next(each for each in seen.findings if each.metric == Metric.ERRORS and not each.dry_run)
    others = exp(min(seen.log_e, 700.0)) - share * exp(min(errors.log_e_worse or 0.0, 700.0))
    missing = (1.0 / policy.alpha_rollback - others) / share
    if missing <= 0.0:
        return None
    tested = outcomes(drawn_by_coin(evidence), ERRORS, DRAWN)
    return bad_until(tested, evidence.error_reference, weight, log(missing), _MOST_BAD)


def _to_promote(evidence: Evidence, policy: Policy, seen: Assessment) -> Iterator[str]:
    if not seen.canary_answers:
        yield f"answers of {evidence.canary}: none came yet"
        return
    if seen.held_because is not None:
        yield f"{evidence.canary} is held at its lowest weight: {seen.held_because}"
    if seen.log_e >= log(policy.thaw_below):
        yield f"the evidence against it must fall below {policy.thaw_below:g}; it is {exp(min(seen.log_e, 50.0)):,.3g}"
    yield from _proofs(evidence, policy, seen)


def _proofs(evidence: Evidence, policy: Policy, seen: Assessment) -> Iterator[str]:
    """One clause for each proof that promotion waits for."""
    needed = 1.0 / policy.alpha_promotion
    for guardrail, finding in zip(policy.guardrails, seen.findings, strict=False):
        if not guardrail.is_waited_for or (finding.log_e_not_worse or 0.0) >= log(needed):
            continue
        if guardrail.metric is Metric.ERRORS:
            yield _error_proof(evidence, policy)
        elif guardrail.metric is Metric.LATENCY:
            yield _latency_proof(finding, evidence, needed)
        elif guardrail.metric in _PROVEN:
            yield _proof(guardrail.metric, finding, evidence, needed)


def _error_proof(evidence: Evidence, policy: Policy) -> str:
    weight = highest_weight(evidence)
    more = exchanges_to_proof(evidence, policy, weight) if weight is not None else None
    margin = points(error_margin(evidence, policy, policy.errors).delta)
    if more is None or not isfinite(more):
        return (
            f"fewer bad answers of {evidence.canary}: so far they are at least {margin} more than {evidence.stable}'s"
        )
    return f"about {about(more)} more answers of both, as good as so far, prove it less than {margin} worse"


def _latency_proof(finding: Finding, evidence: Evidence, needed: float) -> str:
    if finding.log_e_not_worse is None:
        return f"latency can be proven once {evidence.stable} has given enough answers to know what is slow"
    so_far = exp(min(finding.log_e_not_worse, 50.0))
    return f"proof that {evidence.canary} is not slower than {evidence.stable}: evidence {so_far:,.2g} of {needed:,.0f}"


def _proof(metric: Metric, finding: Finding, evidence: Evidence, needed: float) -> str:
    if finding.log_e_not_worse is None:
        return finding.sentence.rstrip(".")
    so_far = exp(min(finding.log_e_not_worse, 50.0))
    claim = _PROVEN[metric].format(stable=evidence.stable)
    return f"proof that {evidence.canary} {claim}: evidence {so_far:,.2g} of {needed:,.0f}"


def advice(evidence: Evidence, policy: Policy) -> tuple[str, ...]:
    """What the traffic before the start cannot show within the policy's time; nothing if it can show enough."""
    per_s = evidence.usual_per_s
    if per_s is None:
        return ()
    if per_s == 0.0:
        return ("Nothing was asked of the model of late: without traffic nothing is verified.",)
    return tuple(_advice(evidence, policy, per_s))


def _advice(evidence: Evidence, policy: Policy, per_s: float) -> Iterator[str]:
    weight = policy.max_weight_bp / FULL_BP
    delta = error_margin(evidence, policy, policy.errors).delta
    exchanges = per_s * policy.deadline_s
    reference = evidence.error_reference
    effect = smallest_effect(reference, weight, exchanges, log_limit(policy, policy.errors))
    if effect is None:
        yield (
            f"At {frequency(per_s)} this policy cannot tell a version that always fails in "
            f"{span_text(policy.deadline_s)}: {_remedies(policy)}."
        )
    elif effect > delta:
        yield (
            f"At {frequency(per_s)} this policy cannot verify less than {points(effect)} in "
            f"{span_text(policy.deadline_s)}: {_remedies(policy)}."
        )
    needed = overlap_to_prove(reference, delta, log(1.0 / policy.alpha_promotion)) / (weight * (1.0 - weight))
    if needed > exchanges:
        yield (
            f"Proof that it is less than {points(delta)} worse takes about {span_text(needed / per_s)} "
            f"at {frequency(per_s)}; the deadline is {span_text(policy.deadline_s)}."
        )


def _remedies(policy: Policy) -> str:
    raise_it = ", raise the weight" if policy.max_weight_bp < FULL_BP // 2 else ", wait longer"
    return f"mirror{raise_it} or widen the margin"


def eta_s(evidence: Evidence, policy: Policy, log_e: float) -> float | None:
    """Rough seconds until the errors decide at the highest weight so far; None if they never would."""
    per_second = evidence.draws_per_s
    weight = highest_weight(evidence)
    if per_second <= 0.0 or weight is None:
        return None
    exchanges = min(_until_harm(evidence, policy, log_e, weight), exchanges_to_proof(evidence, policy, weight))
    return exchanges / per_second if isfinite(exchanges) else None


def smallest_visible_effect(evidence: Evidence, policy: Policy) -> float | None:
    """The smallest excess rate of errors that the time left can reveal at the policy's highest weight."""
    elapsed_s = evidence.read_through[Horizon.STATUS] - evidence.started_s + 1
    left_s = policy.deadline_s - elapsed_s
    weight = policy.max_weight_bp / FULL_BP
    limit = log_limit(policy, policy.errors)
    return smallest_effect(evidence.error_reference, weight, left_s * evidence.draws_per_s, limit)


def highest_weight(evidence: Evidence) -> float | None:
    """The canary's highest weight so far at which both arms could be drawn; None before."""
    return max(drawn_by_coin(evidence), default=0) / FULL_BP or None


def _until_harm(evidence: Evidence, policy: Policy, log_e: float, weight: float) -> float:
    seen = rates(drawn_by_coin(evidence), BAD, JUDGED)
    if seen is None or seen.extra <= 0.0:
        return inf
    missing = max(0.0, log(1.0 / policy.alpha_rollback) - log_e)
    return exchanges_to_refute(seen.canary, seen.stable, weight, missing)


def exchanges_to_proof(evidence: Evidence, policy: Policy, weight: float) -> float:
    """About how many exchanges at this weight prove the errors not worse, if they go on so; inf if none do."""
    setup = error_margin(evidence, policy, policy.errors)
    totals = error_score(evidence, setup.proof_step)
    margin = setup.delta
    excess = totals.score / totals.overlap if totals.overlap > 0.0 else 0.0
    if excess >= margin:
        return inf
    needed = overlap_to_prove(evidence.error_reference, margin - max(0.0, excess), log(1.0 / policy.alpha_promotion))
    return max(0.0, needed - totals.overlap) / (weight * (1.0 - weight))
