"""Wrong or missing answers: the guardrail that every policy has, as it bounds the exposure."""

from math import inf, isfinite, log
from operator import attrgetter

from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.estimates import BAD, BAD_OUTCOMES, ERRORS, drawn_by_coin
from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.finding import Finding
from app.domain.guardrails.kind import GuardrailKind, Rate, Terms, of_every_model
from app.domain.guardrails.phrases import about, points
from app.domain.guardrails.rates import Margin, judge_rate, margin_of, proof, score_of
from app.domain.stats.planning import overlap_to_prove
from app.domain.stats.score import Score, excess_bound

_RATE = Rate(
    bad=ERRORS,
    usual=attrgetter("error_reference"),
    noun="Error rate",
    answers="errors",
    together=BAD_OUTCOMES,
)


def judge_errors(evidence: Evidence, terms: Terms) -> Finding:
    """Turned back by P1, promoted by P2 on errors and timeouts together."""
    return judge_rate(_RATE, evidence, terms, proof(evidence, terms, BAD, evidence.error_reference))


def exposure_guardrail(policy: Policy) -> Guardrail:
    """The guardrail that bounds the exposure; `check_policy` sees to it that there is one."""
    return policy.live(KIND.metric) or KIND.usual


def error_margin(evidence: Evidence, policy: Policy) -> Margin:
    """The margin of errors: the greater of a share of the reference and a floor."""
    return margin_of(evidence.error_reference, policy, exposure_guardrail(policy))


def error_score(evidence: Evidence, greatest_step: float) -> Score:
    """The score process of bad answers, errors and timeouts together."""
    return score_of(evidence, BAD, evidence.error_reference, greatest_step)


def error_excess_bound(evidence: Evidence, policy: Policy) -> float:
    """U_t: at most this much of the canary's answers are bad beyond stable's rate, at any time."""
    margin = error_margin(evidence, policy)
    totals = error_score(evidence, margin.bound_step)
    return max(0.0, excess_bound(totals, policy.alpha_promotion, margin.rho, margin.bound_step))


def highest_weight(evidence: Evidence) -> float | None:
    """The canary's highest weight so far at which both arms could be drawn; None before."""
    return max(drawn_by_coin(evidence), default=0) / FULL_BP or None


def exchanges_to_proof(evidence: Evidence, policy: Policy, weight: float) -> float:
    """About how many exchanges at this weight prove the errors not worse, if they go on so; inf if none do."""
    setup = error_margin(evidence, policy)
    totals = error_score(evidence, setup.proof_step)
    excess = totals.score / totals.overlap if totals.overlap > 0.0 else 0.0
    if excess >= setup.delta:
        return inf
    margin = setup.delta - max(0.0, excess)
    needed = overlap_to_prove(evidence.error_reference, margin, log(1.0 / policy.alpha_promotion))
    return max(0.0, needed - totals.overlap) / (weight * (1.0 - weight))


def _wants(evidence: Evidence, policy: Policy, _: Finding) -> str:
    weight = highest_weight(evidence)
    more = exchanges_to_proof(evidence, policy, weight) if weight is not None else inf
    margin = points(error_margin(evidence, policy).delta)
    if not isfinite(more):
        return (
            f"fewer bad answers of {evidence.canary}: so far they are at least {margin} more than {evidence.stable}'s"
        )
    return f"about {about(more)} more answers of both, as good as so far, prove it less than {margin} worse"


KIND = GuardrailKind(
    usual=Guardrail(Metric("errors"), margin=0.5, floor=0.01),
    ranges={"margin": (0.0, 100.0), "floor": (1e-5, 0.5)},
    share=0.30,
    judge=judge_errors,
    is_usual=of_every_model,
    rate=_RATE,
    wants=_wants,
)
