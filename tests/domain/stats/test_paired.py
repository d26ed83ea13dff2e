"""Pairs of the mirror: fair when both versions answer alike, by enumeration and by simulation."""

from itertools import product
from math import comb, exp, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from app.domain.stats.eprocess import BETTER, Outcomes, log_e_tilt
from app.domain.stats.paired import PAIRED_STEP, log_e_discordant, paired_score
from app.domain.stats.score import Sums, difference_interval, log_e_not_worse, log_e_worse


@given(discordant=st.integers(0, 25), r0=st.floats(0.3, 3.0))
def test_a_discordant_pair_on_the_ratio_gains_nothing_on_average_in_either_direction(
    discordant: int, r0: float
) -> None:
    share = r0 / (1.0 + r0)
    for excesses in ((), (BETTER,)):
        mean = sum(
            comb(discordant, k)
            * share**k
            * (1 - share) ** (discordant - k)
            * exp(log_e_discordant(k, discordant - k, r0, *excesses))
            for k in range(discordant + 1)
        )
        assert mean == pytest.approx(1.0, rel=1e-9)


def differences(story: tuple[int, ...]) -> Sums:
    return Sums(len(story), sum(story), sum(abs(d) for d in story))


@pytest.mark.parametrize("margin", [0.0, 0.2])
@pytest.mark.parametrize("agree", [0.0, 0.5])
def test_pairs_on_the_margin_prove_neither_harm_nor_its_absence_on_average(margin: float, agree: float) -> None:
    # Each pair differs by -1, 0 or 1, with this mean.
    chance = {1: (1 - agree) * (1 + margin / (1 - agree)) / 2, 0: agree}
    chance[-1] = 1.0 - chance[1] - chance[0]
    harm = proof = 0.0
    for story in product((-1, 0, 1), repeat=7):
        likely = float(np.prod([chance[d] for d in story]))
        totals = paired_score(differences(story))
        harm += likely * exp(log_e_worse(totals, margin, 1.0, PAIRED_STEP))
        proof += likely * exp(log_e_not_worse(totals, margin, 1.0, PAIRED_STEP))
    assert harm <= 1.0 + 1e-12
    assert proof <= 1.0 + 1e-12


def test_half_the_exchanges_of_an_even_split_show_that_twice_as_many_fail() -> None:
    # Counts as expected, 1 % against 2 %, independent answers.
    def pairs(n: int) -> float:
        return log_e_discordant(round(n * 0.02 * 0.99), round(n * 0.01 * 0.98))

    def exchanges(n: int) -> float:
        return log_e_tilt([Outcomes(0.5, round(n / 2 * 0.02), round(n / 2 * 0.01))])

    sizes = range(500, 20_000, 100)
    mirrored = next(n for n in sizes if pairs(n) >= log(100))
    split = next(n for n in sizes if exchanges(n) >= log(100))
    assert mirrored == pytest.approx(split / 2, rel=0.1)


def test_versions_that_fail_alike_are_hardly_ever_called_worse_at_any_look() -> None:
    runs, looks, alpha = 300, 30, 0.05
    rng = np.random.default_rng(4)
    # Half of the failures are shared, and the rate swings: neither may matter.
    shared = rng.random((runs, looks, 100)) < 0.02
    canary, stable = (
        shared | (rng.random(shared.shape) < 0.02 * (1 + np.sin(np.arange(looks)))[:, None]) for _ in "cs"
    )
    only = [(one & ~other).sum(axis=2).cumsum(axis=1) for one, other in ((canary, stable), (stable, canary))]
    called = sum(
        any(log_e_discordant(int(c), int(s)) >= log(1 / alpha) for c, s in zip(cs, ss, strict=True))
        for cs, ss in zip(*only, strict=True)
    )
    assert binom.sf(called - 1, runs, alpha) > 0.001


def test_the_step_is_the_smallest_that_is_fair() -> None:
    # 2 % of the pairs differ by -1 and the rest by so little upwards that the mean difference is zero.
    n, rare, slight = 60, 0.02, 0.02 / 0.98

    def mean(step: float) -> float:
        return sum(
            comb(n, k)
            * rare**k
            * (1 - rare) ** (n - k)
            * exp(log_e_worse(paired_score(Sums(n, (n - k) * slight - k, (n - k) * slight**2 + k)), 0.0, 1.0, step))
            for k in range(n + 1)
        )

    assert mean(0.9 * PAIRED_STEP) > 1.0 >= mean(PAIRED_STEP)


def test_the_interval_of_the_mean_difference_holds_it() -> None:
    lower, upper = difference_interval(paired_score(Sums(10_000, 300.0, 90.0)), 0.05, 10.0, PAIRED_STEP, PAIRED_STEP)
    assert 0.0 < lower < 0.03 < upper < 0.06


@pytest.mark.parametrize("sums", [Sums(-1, 0, 0), Sums(2, 3, 2), Sums(2, -3, 2), Sums(2, 0, nan), Sums(2, 0, 3)])
def test_sums_that_no_pairs_have_are_refused(sums: Sums) -> None:
    with pytest.raises(ValueError, match="no outcomes"):
        paired_score(sums)


@pytest.mark.parametrize("counts", [(-1, 0), (0, -1), (nan, 0)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no coin made"):
        log_e_discordant(*counts)
