"""Which function judges which metric; the one list of them."""

from collections.abc import Callable, Mapping

from app.domain.costs import judge_cost
from app.domain.drift_guardrail import judge_drift
from app.domain.finding import Finding
from app.domain.guardrails import judge_errors, judge_latency, judge_timeouts
from app.domain.labelled import judge_labels
from app.domain.ledger import Evidence
from app.domain.policy import Guardrail, Metric, Policy
from app.domain.slices import judge_slices
from app.domain.validity import judge_validity

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
