"""Predictions and scores collected from one answer: numbers and labels, as many as are kept.

Rule: whatever JSON holds can be put in; what is no number and no label is walked through, never
refused, and no more than 1,000 values are looked at one by one.
"""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Final

from app.proxy.responses.reading import Prediction

MAX_VALUES: Final = 1_000
_ROUNDING: Final = 1e-3
_NOT_A_NUMBER: Final = float("nan")


class Values:
    """What is collected.

    Attributes:
        is_nonfinite: Whether a NaN, an infinity or a null stood where a value belongs.
    """

    __slots__ = ("is_nonfinite", "predictions", "scores")

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []
        self.scores: list[float] = []
        self.is_nonfinite = False

    def predict(self, value: object) -> None:
        """Add every number and label in a value."""
        for leaf in leaves(value, MAX_VALUES) if isinstance(value, dict | list) else (value,):
            number = self._number(leaf)
            self.predictions.append(number if number is not None else leaf if isinstance(leaf, str) else str(leaf))

    def score(self, value: object) -> None:
        """Add every number in a value."""
        for leaf in leaves(value, MAX_VALUES) if isinstance(value, dict | list) else (value,):
            number = self._number(leaf)
            if number is not None:
                self.scores.append(number)

    def choose(self, shares: Sequence[float], *, predicts: bool = True) -> None:
        """Add how large the largest share is, and the place of its class unless something else predicts."""
        share = max(shares)
        self.scores.append(float(share))
        if predicts:
            self.predictions.append(float(shares.index(share)))

    def _number(self, leaf: object) -> float | None:
        """The number a leaf is, as `as_number`; notes when it is none that can be worked with."""
        number = as_number(leaf)
        if number is not None and not isfinite(number):
            self.is_nonfinite = True
        return number


def as_number(leaf: object) -> float | None:
    """The number a leaf is, NaN for null, None for what is none."""
    if leaf is None:
        return _NOT_A_NUMBER
    if not isinstance(leaf, int | float):
        return None
    try:
        return float(leaf)
    except OverflowError:
        return None


def leaves(value: object, most: int) -> Iterator[object]:
    """What is neither list nor object in a value, in its order; at most so many, empty lists counted too."""
    waiting = [value]
    while waiting and most > 0:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(reversed(list(each.values())[:most]))
        elif isinstance(each, list):
            waiting.extend(each[:most][::-1])
        else:
            yield each
        most -= not isinstance(each, dict | list) or not each


def as_shares(row: object) -> list[float] | None:
    """The row when it is two or more probabilities that sum to 1 within 0.001, else None."""
    if not isinstance(row, list) or len(row) < 2:
        return None
    if not all(type(each) is float or type(each) is int for each in row):
        return None
    return row if are_shares(row) else None


def are_shares(row: Sequence[float]) -> bool:
    """Whether numbers are probabilities that sum to 1 within 0.001."""
    return min(row) >= 0 and max(row) <= 1 + _ROUNDING and abs(sum(row) - 1) <= _ROUNDING
