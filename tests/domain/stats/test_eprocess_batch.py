"""Many tests at once: the one-test functions' results, to the last bit."""

from collections.abc import Sequence
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.stats.eprocess import BETTER, SPLIT_RATIOS, WORSE, Outcomes, log_e_full, log_e_tilt
from app.domain.stats.eprocess_batch import ManyOutcomes, log_e_full_of_many, log_e_tilt_of_many

counts = st.integers(0, 10**9)
references = st.sampled_from([0.0, 0.001, 0.05, 0.5, 0.95])


@st.composite
def many(draw: st.DrawFn) -> list[list[Outcomes]]:
    """Tests by epochs, the same weights for all tests."""
    weights = draw(st.lists(st.floats(1e-4, 0.99), min_size=1, max_size=24))
    of_test = st.tuples(*(st.tuples(counts, counts, counts, counts) for _ in weights))
    tests = draw(st.lists(of_test, min_size=1, max_size=9))
    return [[Outcomes(w, *four) for w, four in zip(weights, test, strict=True)] for test in tests]


def stacked(tests: Sequence[Sequence[Outcomes]]) -> ManyOutcomes:
    by_field = np.array(tests, dtype=float).transpose(2, 1, 0)
    return ManyOutcomes(tuple(epoch.weight for epoch in tests[0]), by_field[1:])


@given(many(), st.sampled_from([WORSE, BETTER, SPLIT_RATIOS]))
def test_each_of_many_tilts_is_the_one_tilt_to_the_bit(tests: list[list[Outcomes]], ratios: tuple[float, ...]) -> None:
    assert log_e_tilt_of_many(stacked(tests), ratios) == [log_e_tilt(test, 1.0, ratios) for test in tests]


@given(many(), st.data(), st.sampled_from([WORSE, BETTER]))
def test_each_of_many_full_mixtures_is_the_one_to_the_bit(
    tests: list[list[Outcomes]], data: st.DataObject, ratios: tuple[float, ...]
) -> None:
    chosen = tuple(data.draw(references) for _ in tests)
    alone = [log_e_full(test, reference, ratios) for test, reference in zip(tests, chosen, strict=True)]
    assert log_e_full_of_many(stacked(tests), chosen, ratios) == alone


def test_before_any_epoch_no_test_has_evidence() -> None:
    nothing = ManyOutcomes((), np.zeros((4, 0, 3)))
    assert log_e_tilt_of_many(nothing) == [0.0, 0.0, 0.0]
    assert log_e_full_of_many(nothing, (0.5, 0.1, 0.01)) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("count", [-1.0, nan, inf])
def test_counts_that_cannot_be_are_refused(count: float) -> None:
    broken = stacked([[Outcomes(0.5, 1, 1, 1, 1)]])
    broken.counts[2, 0, 0] = count
    with pytest.raises(ValueError, match="no number of answers"):
        log_e_tilt_of_many(broken)
    with pytest.raises(ValueError, match="no number of answers"):
        log_e_full_of_many(broken, (0.5,))


@pytest.mark.parametrize("weight", [0.0, 1.0, nan])
def test_weights_without_a_coin_are_refused(weight: float) -> None:
    broken = stacked([[Outcomes(weight, 1, 1, 1, 1)]])
    with pytest.raises(ValueError, match="no coin has the weights"):
        log_e_tilt_of_many(broken)
    with pytest.raises(ValueError, match="no coin has the weights"):
        log_e_full_of_many(broken, (0.5,))


def test_a_reference_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no reference"):
        log_e_full_of_many(stacked([[Outcomes(0.5, 1, 1, 1, 1)]]), (1.0,))
