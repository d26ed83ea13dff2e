"""Offline evaluation: what a policy asks of it before a rollout, and what it looks like beside what came online.

Rule: offline figures open or close a door and are shown; they never move a weight, for nobody drew them by a coin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.catalog.declarations import QualityKind, QualityMetric
from app.domain.catalog.models import Version

LIMITS_MAX = 16
# So much of the metric's whole range may lie between offline and online before it is called suspicious.
SUSPICIOUS = 0.1

_OF_CAP = frozenset({QualityKind.LOG_LOSS, QualityKind.ABSOLUTE_ERROR, QualityKind.SQUARED_ERROR})


@dataclass(frozen=True, slots=True)
class OfflineLimit:  # ADR 0111
    """What the canary's offline evaluation must not fall short of.

    Attributes:
        metric: As the versions were registered with it.
        margin: How much worse than stable's is let through, in the metric's own unit, >= 0.
        lower_is_better: Of an error or a loss.
    """

    metric: str
    margin: float = 0.0
    lower_is_better: bool = False


def refusal(limits: Sequence[OfflineLimit], canary: Version, stable: Version) -> str | None:
    """Why the canary must not begin, in one sentence; None when nothing is against it.

    A stable version that was registered without the metric limits nobody: there is nothing to be worse than.
    """
    return next((why for limit in limits if (why := _shortfall(limit, canary, stable)) is not None), None)


def _shortfall(limit: OfflineLimit, canary: Version, stable: Version) -> str | None:
    name, ours = limit.metric, canary.credentials.offline.get(limit.metric)
    if ours is None:
        return f"{canary.name} was registered without the offline metric {name}, and the policy asks for it"
    theirs = stable.credentials.offline.get(limit.metric)
    if theirs is None:
        return None
    worse_by = ours - theirs if limit.lower_is_better else theirs - ours
    if worse_by <= limit.margin:
        return None
    return (
        f"{canary.name} has the offline {name} {ours:g} and {stable.name} {theirs:g}:"
        f" worse by {worse_by:.3g}, and the policy lets {limit.margin:g} through"
    )


def is_lower_better(metric: QualityMetric) -> bool:
    """Whether a smaller shown value is the better one."""
    by_kind = metric.kind in _OF_CAP or metric.kind is QualityKind.BRIER
    return by_kind or (metric.kind is QualityKind.SCORE and metric.lower_is_better)


def looks_leaked(metric: QualityMetric, offline: float, low: float, high: float) -> bool:
    """Whether online lies so far below offline that leakage in the evaluation, or skew, has to be looked for.

    So it is when the whole interval of the online value lies beyond a tenth of the metric's range on the
    worse side: of rates and Brier 0.1, of a score a tenth of its range, of an error a tenth of its cap.

    Args:
        metric: As declared.
        offline: Of the version's registration.
        low: Lower end of the online value's interval, as shown.
        high: Its upper end.
    """
    apart = SUSPICIOUS * _range(metric)
    return low > offline + apart if is_lower_better(metric) else high < offline - apart


def _range(metric: QualityMetric) -> float:
    if metric.kind is QualityKind.SCORE:
        return metric.high - metric.low
    return metric.high if metric.kind in _OF_CAP else 1.0


def compared(canary: Mapping[str, float], stable: Mapping[str, float]) -> Mapping[str, float]:
    """By how much the first's offline metrics exceed the second's, of those that both have."""
    return {name: value - stable[name] for name, value in canary.items() if name in stable}
