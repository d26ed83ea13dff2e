"""Which function judges which metric; the one list of them."""

from collections.abc import Callable, Mapping

from app.domain.finding import Finding
from app.domain.guardrails import judge_errors, judge_latency, judge_timeouts
from app.domain.ledger import Evidence
from app.domain.policy import Guardrail, Metric, Policy

JUDGES: Mapping[Metric, Callable[[Evidence, Policy, Guardrail], Finding]] = {
    Metric.ERRORS: judge_errors,
    Metric.TIMEOUTS: judge_timeouts,
    Metric.LATENCY: judge_latency,
}
