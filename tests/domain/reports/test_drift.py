"""A window against its reference: exact by enumeration, false alarms bounded, large changes found."""

from itertools import product
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.catalog.declarations import PREDICTIONS
from app.domain.reports.drift import ALPHA, drifted, effect, log_e_reference, log_e_shuffled
from app.domain.stats.histogram import Histogram, Spread, histogram_of


@pytest.mark.parametrize("totals", [(5, 4), (3, 1, 6), (2, 2, 2, 7), (9, 1, 1)])
@pytest.mark.parametrize("n", [1, 3, 4])
def test_over_every_split_of_the_same_values_the_evidence_is_one_on_average_at_most(
    totals: tuple[int, ...], n: int
) -> None:
    """Summed over all splits, not drawn: the hypothesis' own expectation."""
    ways = comb(sum(totals), n)
    mean = 0.0
    for drawn in product(*(range(total + 1) for total in totals)):
        if sum(drawn) == n:
            chance = np.prod([comb(total, count) for total, count in zip(totals, drawn, strict=True)]) / ways
            rest = tuple(total - count for total, count in zip(totals, drawn, strict=True))
            mean += chance * exp(log_e_shuffled(drawn, rest))
    assert 0.0 < mean <= 1.0 + 1e-9


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=8))
@example([(1, 0), (1, 2)])
def test_which_sample_is_the_reference_does_not_matter(counts: list[tuple[int, int]]) -> None:
    one, two = ([pair[place] for pair in counts] for place in (0, 1))
    assert log_e_shuffled(one, two) == pytest.approx(log_e_shuffled(two, one), abs=1e-6)


def test_samples_of_one_value_or_none_say_nothing() -> None:
    assert log_e_shuffled((7, 0), (900, 0)) == 0.0
    assert log_e_shuffled((0, 0), (3, 4)) == 0.0
    assert log_e_reference(Histogram(), histogram_of([1.0] * 500)) == 0.0
    assert effect(histogram_of([1.0] * 199), histogram_of([1.0])) is None


def spread(rng: np.random.Generator, n: int, *, features: int = 4, moved: float = 0.0) -> Spread:
    columns = rng.normal(size=(features, n))
    columns[0] += moved
    labels = np.where(rng.random(n) < 0.3, "yes", "no").tolist()
    return Spread(
        histogram_of(labels), {f"f{place}": histogram_of(column.tolist()) for place, column in enumerate(columns)}
    )


def test_a_feature_that_moved_is_flagged_alone_and_told_by_its_effect() -> None:
    rng = np.random.default_rng(5)
    found = {each.name: each for each in drifted(spread(rng, 5_000), spread(rng, 1_000, moved=0.6), windows=24)}
    assert [name for name, each in found.items() if each.flagged] == ["f0"]
    far, near = found["f0"].effect, found["f1"].effect
    assert far is not None
    assert near is not None
    assert far.stability > 0.2
    assert near.stability < 0.02
    assert far.distance > 0.1 > near.distance
    assert far.divergence > near.divergence
    assert next(iter(found)) == PREDICTIONS


def test_a_lost_feature_and_a_label_that_is_predicted_no_more_are_flagged() -> None:
    rng = np.random.default_rng(6)
    lost = Spread(histogram_of(["no"] * 200), {"f0": histogram_of([None] * 200), "f2": Histogram()})
    found = {each.name: each for each in drifted(spread(rng, 5_000), lost, windows=1)}
    assert {name for name, each in found.items() if each.flagged} == {PREDICTIONS, "f0"}
    assert found["f2"].effect is None
    collapsed = found[PREDICTIONS].effect
    assert collapsed is not None
    assert collapsed.worst_ratio < 0.05


def test_a_change_too_small_to_matter_is_proven_and_not_flagged() -> None:
    reference, window = (Spread(histogram_of(["yes"] * yes + ["no"] * (100_000 - yes))) for yes in (30_000, 33_000))
    (found,) = drifted(reference, window, windows=1)
    assert found.log_e > found.log_limit
    assert not found.flagged


def test_what_all_windows_and_features_may_spend_together_is_alpha() -> None:
    reference = spread(np.random.default_rng(7), 300)
    spent = sum(exp(-each.log_limit) for windows in range(1, 2_000) for each in drifted(reference, Spread(), windows))
    assert 0.99 * ALPHA < spent <= ALPHA
    with pytest.raises(ValueError, match="nobody"):
        drifted(reference, Spread(), 0)


@pytest.mark.parametrize("n", [50, 500, 20_000])
def test_equal_distributions_are_hardly_ever_proven_different(n: int) -> None:
    rng = np.random.default_rng(n)
    logs = [
        log_e_reference(histogram_of(rng.normal(size=1_000).tolist()), histogram_of(rng.normal(size=n).tolist()))
        for _ in range(200 if n < 1_000 else 20)
    ]
    assert max(logs) < log(1_000.0)
    assert np.mean(np.exp(logs)) < 3.0
