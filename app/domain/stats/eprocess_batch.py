"""The tilt mixtures of many tests over the same epochs at once: the bits of `eprocess`, sooner.

Rule: numpy only multiplies and adds, epoch after epoch in the order given; every logarithm and
exponential is math's. So each result equals the one-test function's to the last bit, whatever
the shape, and a stored decision is recomputed exactly (ADR 0080).
"""

from collections.abc import Sequence
from functools import lru_cache
from math import inf, log
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.domain.stats.eprocess import WORSE, check_reference, log_mean_tilts, log_sum_exp

Counts: TypeAlias = NDArray[np.float64]

# Tables of 20 epochs, 9 tests and 13 tilts take 20 kB each.
_TABLES = 256


class ManyOutcomes(NamedTuple):
    """Both arms' answers per epoch and test, the same epochs for all tests.

    Attributes:
        weights: Chance that the coin chose the canary, each in (0, 1), shape (E,).
        counts: Whole numbers >= 0, shape (4, E, T): the canary's bad answers, stable's bad ones,
            the canary's good ones, stable's good ones.
    """

    weights: tuple[float, ...]
    counts: Counts


def log_e_tilt_of_many(outcomes: ManyOutcomes, ratios: tuple[float, ...] = WORSE) -> list[float]:
    """`eprocess.log_e_tilt` at r0 = 1 of each test, shape (T,). Raises: ValueError, as there."""
    if not outcomes.weights:
        return [0.0] * outcomes.counts.shape[-1]
    canary_bad, stable_bad, *_ = _checked(outcomes)
    spent = _over_epochs((canary_bad + stable_bad)[:, :, np.newaxis] * _of_bad(outcomes.weights, ratios))
    logs = _over_epochs(canary_bad)[:, np.newaxis] * _logs(ratios) - spent
    return [log_sum_exp(of_test) - log(len(ratios)) for of_test in logs.tolist()]


def log_e_full_of_many(
    outcomes: ManyOutcomes, references: tuple[float, ...], ratios: tuple[float, ...] = WORSE
) -> list[float]:
    """`eprocess.log_e_full` of each test, shape (T,).

    Args:
        outcomes: Of T tests.
        references: Stable's bad rate in each test, shape (T,), in [0, 1).
        ratios: As there.

    Raises:
        ValueError: As there.
    """
    if not outcomes.weights:
        return [0.0] * len(references)
    canary_bad, stable_bad, canary_good, stable_good = _checked(outcomes)
    mirror = _mirror(outcomes.weights, references, ratios)
    logs = (
        _over_epochs(canary_bad)[:, np.newaxis] * _logs(ratios)
        - _over_epochs((canary_bad + stable_bad)[:, :, np.newaxis] * _of_bad(outcomes.weights, ratios))
        + _over_epochs(canary_good)[:, np.newaxis] * mirror.logs
        - _over_epochs((canary_good + stable_good)[:, :, np.newaxis] * mirror.of_good)
    )
    return [_log_mean(of_test, kept) for of_test, kept in zip(logs.tolist(), mirror.possible, strict=True)]


def _over_epochs(terms: Counts) -> Counts:
    # Along the outermost axis numpy adds row after row; along the innermost it would add in pairs.
    total: Counts = np.add.reduce(terms, axis=0)
    return total


def _log_mean(logs: Sequence[float], kept: tuple[int, ...]) -> float:
    if not kept:
        return 0.0
    return log_sum_exp([logs[j] for j in kept]) - log(len(kept))


@lru_cache(maxsize=_TABLES)
def _logs(ratios: tuple[float, ...]) -> Counts:
    return _frozen([log(ratio) for ratio in ratios])


@lru_cache(maxsize=_TABLES)
def _of_bad(weights: tuple[float, ...], ratios: tuple[float, ...]) -> Counts:
    """What a bad answer costs each tilt, shape (E, 1, J)."""
    _check_weights(weights)
    return _frozen([[log_mean_tilts(weight, ratios)] for weight in weights])


class _Mirror(NamedTuple):
    """The tilts of good answers that mirror those of bad ones.

    Attributes:
        logs: log s_j, shape (T, J); 0 where the ratio is impossible.
        of_good: What a good answer costs each tilt, shape (E, T, J).
        possible: Which ratios the test has, T tuples of positions.
    """

    logs: Counts
    of_good: Counts
    possible: tuple[tuple[int, ...], ...]


@lru_cache(maxsize=_TABLES)
def _mirror(weights: tuple[float, ...], references: tuple[float, ...], ratios: tuple[float, ...]) -> _Mirror:
    _check_weights(weights)
    tilts = [_mirrored(reference, ratios) for reference in references]
    return _Mirror(
        logs=_frozen([[log(tilt) for tilt in of_test] for of_test in tilts]),
        of_good=_frozen([[log_mean_tilts(weight, of_test) for of_test in tilts] for weight in weights]),
        possible=tuple(tuple(j for j, r in enumerate(ratios) if r * reference < 1.0) for reference in references),
    )


def _mirrored(reference: float, ratios: tuple[float, ...]) -> tuple[float, ...]:
    check_reference(reference)
    return tuple((1.0 - r * reference) / (1.0 - reference) if r * reference < 1.0 else 1.0 for r in ratios)


def _frozen(values: Sequence[object]) -> Counts:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


def _checked(outcomes: ManyOutcomes) -> Counts:
    # Written this way round so that NaN, which both ends of the counts inherit, is refused too.
    if not (outcomes.counts.min(initial=0.0) >= 0.0 and outcomes.counts.max(initial=0.0) < inf):
        raise ValueError("a count is no number of answers")
    return np.ascontiguousarray(outcomes.counts)


def _check_weights(weights: tuple[float, ...]) -> None:
    if not all(0.0 < weight < 1.0 for weight in weights):
        raise ValueError(f"no coin has the weights {weights}")
