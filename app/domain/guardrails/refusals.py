"""Requests that the model's own server refuses (4xx): a stricter version, or a caller that only the canary annoys."""

from app.domain.catalog.policy import Guardrail, Metric, OnRegression
from app.domain.evidence.evidence import ArmCounts, Evidence
from app.domain.evidence.recent import LEAST_REFERENCE, usual_rate
from app.domain.evidence.tally import Outcome, judged_of
from app.domain.guardrails.finding import Finding
from app.domain.guardrails.kind import GuardrailKind, Rate, Terms, wants_proof
from app.domain.guardrails.rates import judge_rate, proof


def _refused(arm: ArmCounts) -> int:
    return arm.outcomes.get(Outcome.CLIENT_ERROR, 0)


def _usual(evidence: Evidence) -> float:
    before = evidence.outcomes_before
    return usual_rate(judged_of(before), before.get(Outcome.CLIENT_ERROR, 0)) or LEAST_REFERENCE


_RATE = Rate(bad=_refused, usual=_usual, noun="Refusal rate", answers="refusals", said="refusals")


def judge_refusals(evidence: Evidence, terms: Terms) -> Finding:
    """Turned back by P1, promoted by P2, as errors are; a refusal is no error."""
    return judge_rate(_RATE, evidence, terms, proof(evidence, terms, _refused, _usual(evidence)))


KIND = GuardrailKind(
    # A version may be right to refuse more: who names refusals is told, and who means more says so.
    usual=Guardrail(Metric("refusals"), on_regression=OnRegression.WARN, margin=0.25, floor=0.01),
    ranges={"margin": (0.0, 100.0), "floor": (1e-5, 0.5)},
    share=0.10,
    judge=judge_refusals,
    rate=_RATE,
    extra="refused",
    wants=wants_proof("does not refuse more than {stable} by its margin"),
)
