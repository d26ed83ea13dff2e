"""What would change the decision, and what this traffic cannot show: sentences for people.

Rule: figures here are rough and say so; nothing is decided by them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, inf, isfinite, log

from app.domain.catalog.policy import Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.estimates import BAD, DRAWN, ERRORS, JUDGED, drawn_by_coin, outcomes, rates
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.tally import Horizon
from app.domain.guardrails.errors import error_margin, exchanges_to_proof, exposure_guardrail, highest_weight
from app.domain.guardrails.finding import Assessment, Verdict
from app.domain.guardrails.phrases import frequency, points
from app.domain.guardrails.registry import kind_of, log_limit, shares
from app.domain.rollout.wording import span_text
from app.domain.stats.harm import bad_until
from app.domain.stats.planning import exchanges_to_refute, overlap_to_prove, smallest_effect

# Further than this nobody plans.
_MOST_BAD = 100


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


def outlook(evidence: Evidence, policy: Policy, seen: Assessment) -> Outlook:  # ADR 0074
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
    metric = exposure_guardrail(policy).metric
    share = shares(policy).get(metric)
    weight = highest_weight(evidence)
    if share is None or weight is None:
        return None
    errors = next(each for each in seen.findings if each.metric == metric and not each.dry_run)
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
    if seen.hold is not None:
        yield f"{evidence.canary} is held at its lowest weight: {seen.hold.because}"
    if seen.log_e >= log(policy.thaw_below):
        yield f"the evidence against it must fall below {policy.thaw_below:g}; it is {exp(min(seen.log_e, 50.0)):,.3g}"
    yield from _proofs(evidence, policy, seen)


def _proofs(evidence: Evidence, policy: Policy, seen: Assessment) -> Iterator[str]:
    """One clause for each proof that promotion waits for."""
    for guardrail, finding in zip(policy.guardrails, seen.findings, strict=False):
        if guardrail.is_waited_for and (finding.log_e_not_worse or 0.0) < log(1.0 / policy.alpha_promotion):
            clause = kind_of(guardrail.metric).wants(evidence, policy, finding)
            if clause is not None:
                yield clause


def advice(evidence: Evidence, policy: Policy) -> tuple[str, ...]:  # ADR 0074
    """What the traffic before the start cannot show within the policy's time; nothing if it can show enough."""
    per_s = evidence.usual_per_s
    if per_s is None:
        return ()
    if per_s == 0.0:
        return ("Nothing was asked of the model of late: without traffic nothing is verified.",)
    return tuple(_advice(evidence, policy, per_s))


def _advice(evidence: Evidence, policy: Policy, per_s: float) -> Iterator[str]:
    weight = policy.max_weight_bp / FULL_BP
    delta = error_margin(evidence, policy).delta
    exchanges = per_s * policy.deadline_s
    reference = evidence.error_reference
    effect = smallest_effect(reference, weight, exchanges, log_limit(policy, exposure_guardrail(policy)))
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
    limit = log_limit(policy, exposure_guardrail(policy))
    return smallest_effect(evidence.error_reference, weight, left_s * evidence.draws_per_s, limit)


def _until_harm(evidence: Evidence, policy: Policy, log_e: float, weight: float) -> float:
    seen = rates(drawn_by_coin(evidence), BAD, JUDGED)
    if seen is None or seen.extra <= 0.0:
        return inf
    missing = max(0.0, log(1.0 / policy.alpha_rollback) - log_e)
    return exchanges_to_refute(seen.canary, seen.stable, weight, missing)
