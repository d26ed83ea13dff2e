"""One arm's readings of one second, and its distributions of ten, while they still grow."""

from collections.abc import Iterable, Mapping

from app.domain.observed import Flaw, Measure, Observed, ObservedRow, SliceCounts, SpreadRow
from app.domain.spread import Histogram, Spread, histogram_of
from app.domain.tally import TallyKey

_ZERO = (0, 0.0, 0.0)


class ObservedCell:
    """What becomes one row; every change raises its sequence.

    Attributes:
        sequence: How often it changed; acknowledged: the sequence Postgres has.
    """

    __slots__ = ("_bad", "_flawed", "_flaws", "_judged", "_measures", "_read", "_slices", "acknowledged", "sequence")

    def __init__(self) -> None:
        self._judged = self._bad = self._read = self._flawed = 0
        self._flaws: dict[Flaw, int] = {}
        self._measures: dict[str, tuple[int, float, float]] = {}
        self._slices: dict[str, dict[str, SliceCounts]] = {}
        self.sequence = 0
        self.acknowledged = 0

    def add(self, counts: SliceCounts, flaws: Iterable[Flaw], slices: Mapping[str, str]) -> None:
        """One exchange, as counts of 0 and 1."""
        judged, bad, read, flawed = counts
        self.sequence += 1
        self._judged += judged
        self._bad += bad
        self._read += read
        self._flawed += flawed
        for flaw in flaws:
            self._flaws[flaw] = self._flaws.get(flaw, 0) + 1
        for key, value in slices.items():
            values = self._slices.setdefault(key, {})
            before = values.get(value)
            if before is None:
                values[value] = counts
            else:
                a, b, c, d = before
                values[value] = SliceCounts(a + judged, b + bad, c + read, d + flawed)

    def measure(self, name: str, value: float) -> None:
        """One number of this exchange."""
        n, total, squares = self._measures.get(name, _ZERO)
        self._measures[name] = (n + 1, total + value, squares + value * value)

    def row(self, key: TallyKey) -> ObservedRow:
        measures = {name: Measure(*sums) for name, sums in self._measures.items()}
        slices = {name: dict(values) for name, values in self._slices.items()}
        observed = Observed(self._judged, self._bad, self._read, self._flawed, dict(self._flaws), measures, slices)
        return ObservedRow(key, observed, self.sequence)


class SpreadCell:
    """The same of distributions: values wait in lists and are binned together."""

    __slots__ = ("_features", "_predictions", "_spread", "acknowledged", "sequence")

    def __init__(self) -> None:
        self._predictions: list[float | str | None] = []
        self._features: dict[str, list[float | str | None]] = {}
        self._spread = Spread()
        self.sequence = 0
        self.acknowledged = 0

    def predict(self, value: float | str) -> None:
        self.sequence += 1
        self._predictions.append(value)

    def feature(self, name: str, value: float | str | None) -> None:
        self.sequence += 1
        self._features.setdefault(name, []).append(value)

    def row(self, key: TallyKey) -> SpreadRow:
        new = Spread(
            histogram_of(self._predictions) if self._predictions else Histogram(),
            {name: histogram_of(values) for name, values in self._features.items()},
        )
        self._predictions.clear()
        self._features.clear()
        self._spread = self._spread + new
        return SpreadRow(key, self._spread, self.sequence)
