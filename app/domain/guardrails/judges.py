"""Which function judges which metric; the one list of them."""

from collections.abc import Callable, Mapping

from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.cost import judge_cost
from app.domain.guardrails.drift import judge_drift
from app.domain.guardrails.finding import Finding
from app.domain.guardrails.labels import judge_labels
from app.domain.guardrails.limits import judge_errors, judge_latency, judge_timeouts
from app.domain.guardrails.slices.worst import judge_slices
from app.domain.guardrails.validity import judge_validity

JUDGES: Mapping[Metric, Callable[[Evidence, Policy, Guardrail], Finding]] = {
    Metric.ERRORS: judge_errors,
    Metric.TIMEOUTS: judge_timeouts,
    Metric.LATENCY: judge_latency,
    Metric.LABELS: judge_labels,
    Metric.VALIDITY: judge_validity,
    Metric.SLICES: judge_slices,
    Metric.COST: judge_cost,
    Metric.DRIFT: judge_drift,
}
