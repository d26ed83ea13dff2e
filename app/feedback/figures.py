"""What became of feedback, as Prometheus series.

Rule: an item counts when it is known what it is; one that waited counts as pending, and once more when it is joined.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from math import inf
from typing import Final

from app import telemetry
from app.domain.evidence.labels import Result
from app.telemetry import Series

LAG_BOUNDS_S: Final = (1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800, 2_592_000)


class FeedbackFigures:
    """Counts of one process."""

    def __init__(self, spooled: Callable[[], int], is_known: Callable[[str], bool]) -> None:
        """Args: spooled: labels that wait on the disk; is_known: whether that is a model's name."""
        self._spooled = spooled
        self._is_known = is_known
        self._results: Counter[tuple[str, Result]] = Counter()
        self._lags: dict[str, Counter[float]] = {}
        self._lag_totals_s: dict[str, float] = {}

    def add(self, model: str, result: Result) -> None:
        """One item; what names no model is counted under none."""
        self._results[model if self._is_known(model) else "", result] += 1

    def add_lag(self, model: str, lag_s: float) -> None:
        """Seconds from a draw to its label."""
        at = bisect_left(LAG_BOUNDS_S, lag_s)
        self._lags.setdefault(model, Counter())[LAG_BOUNDS_S[at] if at < len(LAG_BOUNDS_S) else inf] += 1
        self._lag_totals_s[model] = self._lag_totals_s.get(model, 0.0) + max(0.0, lag_s)

    def series(self) -> Iterator[Series]:
        for (model, result), count in self._results.items():
            yield Series(telemetry.FEEDBACK, (model, result.value), float(count))
        for model, lags in self._lags.items():
            distribution = telemetry.distribution(lags, LAG_BOUNDS_S, self._lag_totals_s[model])
            yield Series(telemetry.FEEDBACK_LAG, (model,), distribution)
        yield Series(telemetry.FEEDBACK_SPOOLED, (), float(self._spooled()))
