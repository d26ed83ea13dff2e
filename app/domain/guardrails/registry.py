"""The kinds of guardrails there are; the one list of them."""

from collections.abc import Mapping

from app.domain.catalog.policy import Metric
from app.domain.guardrails import cost, drift, errors, labels, latency, refusals, timeouts, validity
from app.domain.guardrails.kind import GuardrailKind
from app.domain.guardrails.slices import worst
from app.errors import InvalidInput

KINDS: Mapping[Metric, GuardrailKind] = {
    kind.metric: kind
    for kind in (
        errors.KIND,
        timeouts.KIND,
        latency.KIND,
        validity.KIND,
        labels.KIND,
        worst.KIND,
        cost.KIND,
        drift.KIND,
        refusals.KIND,
    )
}


def kind_of(metric: str, field: str = "/metric") -> GuardrailKind:
    """Raises: InvalidInput: nobody knows this metric."""
    kind = KINDS.get(Metric(metric))
    if kind is None:
        raise InvalidInput(field, f"must be one of {', '.join(KINDS)}")
    return kind
