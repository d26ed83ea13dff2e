"""Answers that did not come in time: turned back by themselves, proven not worse together with errors."""

from operator import attrgetter

from app.domain.catalog.policy import Guardrail, Metric
from app.domain.evidence.estimates import BAD_OUTCOMES, TIMEOUTS
from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.finding import Finding
from app.domain.guardrails.kind import GuardrailKind, Rate, Terms, of_every_model
from app.domain.guardrails.rates import judge_rate

_RATE = Rate(
    bad=TIMEOUTS,
    usual=attrgetter("error_reference"),
    noun="Timeout rate",
    answers="timeouts",
    together=BAD_OUTCOMES,
)


def judge_timeouts(evidence: Evidence, terms: Terms) -> Finding:
    """Turned back by P1."""
    return judge_rate(_RATE, evidence, terms, None)


KIND = GuardrailKind(
    usual=Guardrail(Metric("timeouts")),
    share=0.10,
    judge=judge_timeouts,
    is_proven=False,
    is_usual=of_every_model,
    rate=_RATE,
)
