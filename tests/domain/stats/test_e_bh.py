"""e-BH: the definition, and few false discoveries among many dependent hypotheses."""

from math import inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.stats.e_bh import discoveries
from app.domain.stats.eprocess import WORSE
from app.domain.stats.eprocess_batch import ManyOutcomes, log_e_tilt_of_many


@given(st.lists(st.floats(-10.0, 20.0), max_size=30), st.floats(0.01, 0.99))
def test_the_discoveries_are_the_largest_set_whose_least_e_value_is_enough_for_its_size(
    log_es: list[float], q: float
) -> None:
    found = discoveries(log_es, q)
    sizes = (
        size
        for size in range(1, len(log_es) + 1)
        if sum(log_e >= log(len(log_es) / (size * q)) for log_e in log_es) >= size
    )
    assert len(found) == max(sizes, default=0)
    least = min((log_es[i] for i in found), default=inf)
    assert all(log_es[i] <= least for i in set(range(len(log_es))) - set(found))


def test_one_in_ten_discoveries_is_false_at_most_though_all_share_a_coin() -> None:
    hypotheses, nulls, q = 60, 45, 0.1
    shares, discovered = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        # One tide lifts the failures of every slice at once, so that the e-values depend on each other.
        tide = rng.gamma(2.0, 0.5)
        ratio = np.where(np.arange(hypotheses) < nulls, 1.0, 3.0)
        stable, canary = rng.poisson(60 * tide, hypotheses), rng.poisson(60 * tide * ratio)
        counts = np.array([canary, stable, 0 * canary, 0 * canary], dtype=float)[:, np.newaxis, :]
        found = discoveries(log_e_tilt_of_many(ManyOutcomes((0.5,), counts), WORSE), q)
        discovered.append(sum(i >= nulls for i in found))
        shares.append(sum(i < nulls for i in found) / max(1, len(found)))
    error = float(np.std(shares)) / len(shares) ** 0.5
    assert np.mean(shares) <= q + 3 * error
    assert np.mean(discovered) > 10


def test_no_evidence_at_all_is_no_discovery() -> None:
    assert discoveries([], 0.1) == ()
    assert discoveries([-inf, -inf], 0.1) == ()
    assert discoveries([inf, -inf], 0.1) == (0,)


@pytest.mark.parametrize("q", [0.0, 1.0, nan])
def test_a_rate_that_is_no_share_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="no share"):
        discoveries([1.0], q)


def test_an_e_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        discoveries([1.0, nan], 0.1)
