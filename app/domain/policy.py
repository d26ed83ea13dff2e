"""How much proof and how much harm: what a rollout's owner may choose."""

from dataclasses import dataclass
from enum import StrEnum

from app.errors import InvalidInput


class Metric(StrEnum):
    """What a guardrail watches."""

    ERRORS = "errors"
    TIMEOUTS = "timeouts"
    LATENCY = "latency"


class OnDeadline(StrEnum):
    """What an undecided rollout does when its time is over."""

    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Policy:
    """How much proof and how much harm; statistics in docs/statistics.md.

    Attributes:
        alpha_rollback: Chance that a healthy rollout is ever turned back.
        alpha_promotion: Chance that a version on the margin is promoted, per guardrail.
        freeze_at, thaw_below: Combined e-value that holds the weight, and that lets it go on.
        exposure_budget: Expected extra bad answers one step may cost, B_step.
        max_weight_bp: Highest weight before promotion.
        warmup_s: Seconds of probes only before the first exchange.
        coverage_s: Least seconds between first exchange and promotion.
        deadline_s: Seconds from start to expiry; hold_s: seconds a paused or frozen rollout may
            stay so.
        latency_margin, latency_floor_ms: The canary is slow above q * (1 + margin) + floor.
        slo_quantile: The latency quantile that must be proven not worse.
        error_margin, error_margin_floor: Absolute non-inferiority margin is the greater of
            error_margin * reference rate and the floor.
        metrics: The guardrails that judge this rollout; alpha_rollback is shared among them.
    """

    alpha_rollback: float = 0.01
    alpha_promotion: float = 0.05
    freeze_at: float = 10.0
    thaw_below: float = 3.0
    exposure_budget: float = 5.0
    max_weight_bp: int = 5_000
    warmup_s: float = 5.0
    coverage_s: float = 0.0
    deadline_s: float = 7 * 86_400.0
    hold_s: float = 86_400.0
    on_deadline: OnDeadline = OnDeadline.HOLD
    latency_margin: float = 0.25
    latency_floor_ms: float = 5.0
    slo_quantile: float = 0.95
    error_margin: float = 0.5
    error_margin_floor: float = 0.01
    metrics: tuple[Metric, ...] = tuple(Metric)


# Field, least and greatest value, both allowed.
_RANGES = (
    ("alpha_rollback", 1e-6, 0.2),
    ("alpha_promotion", 1e-6, 0.5),
    ("freeze_at", 1.0, 1e6),
    ("thaw_below", 1.0, 1e6),
    ("exposure_budget", 1e-3, 1e6),
    ("max_weight_bp", 1, 5_000),
    ("warmup_s", 0.0, 86_400.0),
    ("coverage_s", 0.0, 365 * 86_400.0),
    ("deadline_s", 1.0, 365 * 86_400.0),
    ("hold_s", 1.0, 365 * 86_400.0),
    ("latency_margin", 0.0, 100.0),
    ("latency_floor_ms", 0.0, 600_000.0),
    ("slo_quantile", 0.5, 0.9999),
    ("error_margin", 0.0, 100.0),
    ("error_margin_floor", 1e-5, 0.5),
)


def check_policy(policy: Policy, field: str = "/policy") -> Policy:
    """Return the policy unchanged. Raises: InvalidInput naming the field that cannot be."""
    for name, least, greatest in _RANGES:
        value = getattr(policy, name)
        # Written this way round so that NaN is refused too.
        if not least <= value <= greatest:
            raise InvalidInput(f"{field}/{name}", f"must lie between {least:g} and {greatest:g}")
    if policy.thaw_below > policy.freeze_at:
        raise InvalidInput(f"{field}/thaw_below", "must not lie above freeze_at")
    if Metric.ERRORS not in policy.metrics:
        raise InvalidInput(f"{field}/metrics", "must contain errors: without them nothing bounds the exposure")
    if len(set(policy.metrics)) != len(policy.metrics):
        raise InvalidInput(f"{field}/metrics", "must not name a metric twice")
    return policy
