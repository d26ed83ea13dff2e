"""One arm's readings of one second, and its distributions of ten, while they still grow."""

from collections.abc import Iterable, Mapping

from app.domain.catalog.json_pointer import JsonPointer
from app.domain.evidence.observed import Flaw, Measure, Observed, ObservedRow, SliceCounts, SpreadRow
from app.domain.evidence.tally import TallyKey
from app.domain.stats.histogram import Spread
from app.proxy.observing.histogram_row import HistogramCell
from app.proxy.observing.request_document import feature_of

_ZERO = (0, 0.0, 0.0)


class ObservedCell:
    """What becomes one row; every change raises its sequence.

    Attributes:
        key: The row's.
        sequence: How often it changed; acknowledged: the sequence Postgres has.
        is_handed_out: Whether Postgres may have some of it.
    """

    __slots__ = (
        "_bad",
        "_before",
        "_flawed",
        "_flaws",
        "_judged",
        "_measures",
        "_read",
        "_slices",
        "acknowledged",
        "is_handed_out",
        "key",
        "sequence",
    )

    def __init__(self, key: TallyKey) -> None:
        self.key = key
        self._judged = self._bad = self._read = self._flawed = 0
        self._flaws: dict[Flaw, int] = {}
        self._measures: dict[str, tuple[int, float, float]] = {}
        self._slices: dict[str, dict[str, SliceCounts]] = {}
        self._before = Observed()
        self.sequence = 0
        self.acknowledged = 0
        self.is_handed_out = False

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

    def take_over(self, other: "ObservedCell") -> None:
        """All that another row of the same arm has."""
        self._before += other.observed()
        self.sequence += other.sequence

    def observed(self) -> Observed:
        """A copy of what was added."""
        measures = {name: Measure(*sums) for name, sums in self._measures.items()}
        slices = {name: dict(values) for name, values in self._slices.items()}
        own = Observed(self._judged, self._bad, self._read, self._flawed, dict(self._flaws), measures, slices)
        return self._before + own

    def handed_out(self) -> ObservedRow:
        """As it is written now."""
        self.is_handed_out = True
        return ObservedRow(self.key, self.observed(), self.sequence)


class SpreadCell:
    """The same of distributions; its key's second is a multiple of SPREAD_S."""

    __slots__ = ("_before", "_features", "_predictions", "acknowledged", "is_handed_out", "key", "sequence")

    def __init__(self, key: TallyKey) -> None:
        self.key = key
        self._predictions = HistogramCell()
        self._features: dict[str, HistogramCell] = {}
        self._before = Spread()
        self.sequence = 0
        self.acknowledged = 0
        self.is_handed_out = False

    def predict(self, value: float | str | None) -> None:
        """One exchange's prediction; None where one belongs and there is none."""
        self.sequence += 1
        self._predictions.add(value)

    def ask(self, said: object, features: Iterable[tuple[str, JsonPointer]]) -> None:
        """One exchange's features.

        Args:
            said: What its request said, as `asked.said_in`.
            features: Name of each and where it stands.
        """
        self.sequence += 1
        cells = self._features
        for name, at in features:
            cell = cells.get(name)
            if cell is None:
                cell = cells[name] = HistogramCell()
            cell.add(feature_of(said, at))

    def take_over(self, other: "SpreadCell") -> None:
        """All that another row of the same arm has."""
        self._before += other.spread()
        self.sequence += other.sequence

    def spread(self) -> Spread:
        """A copy of what was added."""
        features = {name: cell.histogram() for name, cell in self._features.items()}
        return self._before + Spread(self._predictions.histogram(), features)

    def handed_out(self) -> SpreadRow:
        """As it is written now."""
        self.is_handed_out = True
        return SpreadRow(self.key, self.spread(), self.sequence)
