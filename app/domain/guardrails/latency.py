"""Which latency a policy calls slow, said before stable's own latency is known."""

from functools import lru_cache

from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.evidence.evidence import SlowLimit

LEVELS = (0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)


def slow_limits(policy: Policy) -> tuple[SlowLimit, ...]:
    """What the policy's latency guardrails call slow, the live one's first; the default's if it has none."""
    guardrails = sorted((each for each in policy.guardrails if each.metric is Metric.LATENCY), key=_dry)
    each_once = dict.fromkeys(
        limit for guardrail in guardrails or [Guardrail(Metric.LATENCY)] for limit in limits_of(guardrail)
    )
    return tuple(each_once)


@lru_cache(maxsize=256)
def limits_of(guardrail: Guardrail) -> tuple[SlowLimit, ...]:
    """What one latency guardrail calls slow, by ascending level."""
    proven = [guardrail.quantile] if guardrail.quantile else []
    return tuple(SlowLimit(level, *guardrail.margins) for level in sorted({*LEVELS, *proven}))


def _dry(guardrail: Guardrail) -> bool:
    return guardrail.dry_run
