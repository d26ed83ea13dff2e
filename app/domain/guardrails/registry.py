"""The kinds of guardrails there are, the one list of them; how they share alpha_rollback, and what each says."""

from collections.abc import Mapping
from math import log

from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails import cost, drift, errors, labels, latency, refusals, timeouts, validity
from app.domain.guardrails.finding import Finding
from app.domain.guardrails.kind import GuardrailKind, Terms
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


@once_per_evidence
def shares(policy: Policy) -> Mapping[Metric, float]:  # ADR 0070
    """The weights pi in the average of e-values, of the guardrails that turn back; they sum to 1."""
    named = {each.metric: kind_of(each.metric).share for each in policy.guardrails if each.turns_back}
    total = sum(named.values())
    return {metric: share / total for metric, share in named.items()}


def share_of(policy: Policy, guardrail: Guardrail) -> float:
    """The weight pi of one guardrail that turns back; several of one metric have its share together."""
    alike = sum(each.turns_back and each.metric == guardrail.metric for each in policy.guardrails)
    return shares(policy)[guardrail.metric] / alike


def log_limit(policy: Policy, guardrail: Guardrail) -> float:
    """What the guardrail needs on its own; one that does not turn back takes no share, and gives none."""
    share = share_of(policy, guardrail) if guardrail.turns_back else 1.0
    return log(1.0 / (policy.alpha_rollback * share))


def judge(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Finding:
    """What one guardrail of the policy says."""
    return kind_of(guardrail.metric).judge(evidence, Terms(policy, guardrail, log_limit(policy, guardrail)))
