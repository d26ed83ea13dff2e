"""What to expect: rough seconds to a decision, and the smallest effect that can still be seen."""

from math import inf, isfinite, log

from app.domain.catalog.policy import Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.estimates import BAD, JUDGED, drawn_by_coin, rates
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.tally import Horizon
from app.domain.guardrails.limits import error_margin, error_score, log_limit
from app.domain.stats.planning import exchanges_to_refute, overlap_to_prove, smallest_effect


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
