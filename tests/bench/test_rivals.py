"""The rivals of the engine's benchmark answer as their own code and documents say."""

import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from bench.judging.timings import Moments, Timings
from bench.judging.traffic import Ends, Traffic
from bench.rivals import argo, flagger, growthbook, kayenta, peeking

Vector: TypeAlias = dict[str, Any]
VECTORS: dict[str, Vector] = {
    each["id"]: each for each in json.loads(Path(__file__).with_name("rivals.json").read_text())
}
NEVER = float("inf")


def named(start: str) -> list[Any]:
    return [pytest.param(each, id=name) for name, each in VECTORS.items() if name.startswith(start)]


def minutes(canary_bad: list[int], stable_bad: list[int], answers: int = 100) -> Traffic:
    """One run of one look a minute, with so many answers of each arm in it."""
    bad = (np.array([canary_bad]), np.array([stable_bad]))
    each = np.full_like(bad[0], answers)
    return Traffic(np.array([[5_000]]), each, each, *bad, interval=1)


def ended(ends: Ends) -> tuple[float, float]:
    return float(ends.rolled_back[0]), float(ends.promoted[0])


@pytest.mark.parametrize("vector", named("gb_rho"))
def test_growthbook_s_mixing_parameter_is_as_published(vector: Vector) -> None:
    found = growthbook.mixing(vector["input"]["alpha"], vector["input"]["N"])
    assert found == pytest.approx(vector["expected"], rel=vector["rel_tol"])


@pytest.mark.parametrize("vector", named("gb_hw"))
def test_growthbook_s_half_width_is_as_published(vector: Vector) -> None:
    given = vector["input"]
    found = growthbook.half_width(np.array(given["s2"]), np.array(given["n"]), given["alpha"], given["N"])
    assert float(found) == pytest.approx(vector["expected"], rel=vector["rel_tol"])


@pytest.mark.parametrize("vector", named("gb_abs"))
def test_growthbook_s_interval_is_the_one_its_library_gives(vector: Vector) -> None:
    (stable_bad, stable), (canary_bad, canary) = vector["input"]["a"], vector["input"]["b"]
    counts = [np.array(each) for each in (canary, canary_bad, stable, stable_bad)]
    found = growthbook.interval(counts[0], counts[1], counts[2], counts[3], alpha=0.02)
    assert [float(end) for end in found] == pytest.approx(vector["expected"]["ci"], rel=1e-9)


def test_growthbook_is_silent_while_nothing_varies() -> None:
    assert ended(growthbook.judge(minutes([0, 0], [0, 0]))) == (NEVER, NEVER)
    assert ended(growthbook.judge(minutes([100, 100], [0, 0]))) == (NEVER, NEVER)
    assert ended(growthbook.judge(minutes([100, 99], [0, 0]))) == (1.0, NEVER)


@pytest.mark.parametrize("vector", named("kayenta"))
def test_kayenta_s_interval_is_the_one_of_its_own_tests(vector: Vector) -> None:
    experiment, control = (np.array([vector["input"][arm]], dtype=float) for arm in ("experiment", "control"))
    lower, upper, estimate = kayenta.interval(experiment, control, vector["input"]["conf"])
    assert [lower[0], upper[0]] == pytest.approx(vector["expected"]["ci"], abs=vector["abs_tol"])
    assert estimate[0] == pytest.approx(vector["expected"]["estimate"], abs=vector["abs_tol"])


def test_kayenta_judges_every_ten_minutes_and_tolerates_a_quarter() -> None:
    apart = minutes([5, 6] * 15, [1, 2] * 15)
    assert ended(kayenta.judge(apart)) == (9.0, NEVER)
    assert ended(kayenta.judge(minutes([5, 6] * 15, [5, 6] * 15))) == (NEVER, NEVER)
    # Five bad minutes of ten are not enough, fifteen of twenty are.
    late = minutes([1, 2, 1, 2, 1] + [9] * 25, [1, 2] * 15)
    assert ended(kayenta.judge(late)) == (19.0, NEVER)


def test_kayenta_leaves_a_minute_without_answers_out_of_that_arm_alone() -> None:
    whole = minutes([5, 6] * 5, [1, 2] * 5)
    canary = whole.canary.copy()
    canary[0, :2] = 0
    bad = np.where(canary > 0, whole.canary_bad, 0)
    thinned = Traffic(whole.weight_bp, canary, whole.stable, bad, whole.stable_bad, 1)
    assert ended(kayenta.judge(thinned)) == (9.0, NEVER)
    nothing = Traffic(whole.weight_bp, canary * 0, whole.stable, bad * 0, whole.stable_bad, 1)
    assert ended(kayenta.judge(nothing)) == (NEVER, NEVER)


def test_argo_aborts_at_the_fourth_failed_measurement_of_the_run_not_in_a_row() -> None:
    bad, good = [6] * 5, [5] * 5
    assert ended(argo.judge(minutes(bad * 4 + good * 4, [0] * 40))) == (19.0, NEVER)
    assert ended(argo.judge(minutes((bad + good) * 4, [0] * 40))) == (34.0, NEVER)
    assert ended(argo.judge(minutes(bad * 3 + good * 5, [0] * 40))) == (NEVER, 39.0)


def test_argo_takes_no_measurement_of_nothing() -> None:
    assert ended(argo.judge(minutes([0] * 40, [0] * 40, answers=0))) == (NEVER, 39.0)


def test_flagger_stops_at_ten_good_minutes_or_ten_bad_ones() -> None:
    assert ended(flagger.judge(minutes([1] * 30, [0] * 30))) == (NEVER, 9.0)
    assert ended(flagger.judge(minutes([2] * 30, [0] * 30))) == (9.0, NEVER)
    assert ended(flagger.judge(minutes([2] * 9 + [1] * 21, [0] * 30))) == (NEVER, 18.0)
    assert ended(flagger.judge(minutes([1] * 9 + [2] * 21, [0] * 30))) == (18.0, NEVER)
    assert ended(flagger.judge(minutes([0] * 12, [0] * 12, answers=0))) == (9.0, NEVER)


def test_flagger_s_race_at_its_own_weights_ends_as_its_documentation_implies() -> None:
    rng = np.random.default_rng(7)
    perfect, answers = flagger.race(0.0, 1_000, 50, rng)
    assert not perfect.any()
    assert answers.mean() == pytest.approx(1_000 * sum(range(5, 55, 5)) / 100, rel=0.02)
    assert flagger.race(1.0, 1_000, 50, rng)[0].all()
    assert flagger.race(0.01, 1_000, 4_000, rng)[0].mean() == pytest.approx(0.335, abs=0.03)
    assert 1.0 - flagger.race(0.02, 100, 4_000, rng)[0].mean() == pytest.approx(0.68, abs=0.03)


def test_the_peeking_z_test_rejects_at_its_textbook_limit() -> None:
    # z = (a - 100) / sqrt((a + 100) (1 - p)): 2.31 at 135 and 2.37 at 136.
    found = [ended(peeking.judge(minutes([bad], [100], answers=10_000))) for bad in (134, 137, 0)]
    assert found == [(NEVER, NEVER), (0.0, NEVER), (NEVER, NEVER)]


def timings(canary_ms: list[float], stable_ms: list[float], looks: int = 40) -> Timings:
    """One run in which every look brings the same latencies, each well inside a bin of 10 ms."""
    edges_us = np.arange(0.0, 1_010_000.0, 10_000.0)
    arms = (np.histogram(np.array(ms) * 1_000.0, edges_us)[0] for ms in (canary_ms, stable_ms))
    canary, stable = (np.tile(arm, (1, looks, 1)) for arm in arms)
    return Timings(5_000, edges_us, canary, stable, interval=1)


SLOW, QUICK = [105.0] * 98 + [605.0] * 2, [105.0] * 100


def test_limits_of_latency_are_held_against_the_canary_s_p99_alone() -> None:
    assert ended(flagger.judge_latency(timings(SLOW, QUICK))) == (9.0, NEVER)
    assert ended(flagger.judge_latency(timings(QUICK, SLOW))) == (NEVER, 9.0)
    assert ended(argo.judge_latency(timings(SLOW, QUICK))) == (19.0, NEVER)
    assert ended(argo.judge_latency(timings(QUICK, SLOW))) == (NEVER, 39.0)


def test_kayenta_compares_each_minute_s_p99_and_growthbook_the_mean() -> None:
    assert ended(kayenta.judge_latency(timings(SLOW, QUICK))) == (9.0, NEVER)
    assert ended(kayenta.judge_latency(timings(QUICK, SLOW))) == (NEVER, NEVER)
    assert ended(growthbook.judge_latency(timings([105.0, 205.0] * 50, [105.0, 105.0, 205.0] * 33)))[0] < 40.0
    assert ended(growthbook.judge_latency(timings([105.0, 205.0] * 50, [105.0, 205.0] * 50))) == (NEVER, NEVER)


def test_growthbook_s_interval_of_means_has_the_standard_error_its_library_publishes() -> None:
    # Both arms of TestSequentialOneSidedGreaterTTest: difference 0.234377, standard error 0.129831.
    canary = Moments(np.array([[3_461]]), np.array([[2_422.7]]), np.array([[134_698.29]]))
    stable = Moments(np.array([[3_000]]), np.array([[1_396.87]]), np.array([[52_377.9767]]))
    lower, upper = growthbook.interval_of_means(canary, stable, alpha=0.02)
    assert (lower + upper)[0, 0] / 2.0 == pytest.approx(0.23437667, abs=1e-8)
    n = np.array([[6_461]])
    expected = growthbook.half_width(0.12983081254184736**2 * n, n, 0.02)
    assert (upper - lower)[0, 0] / 2.0 == pytest.approx(expected[0, 0], rel=1e-9)


def test_a_quantile_is_read_from_a_histogram_as_prometheus_reads_it() -> None:
    two_bins = Timings(5_000, np.array([0.0, 10_000.0, 20_000.0]), np.array([[[50, 50]]]), np.array([[[0, 0]]]), 1)
    canary, stable = two_bins.quantiles_ms(0.75, 1)
    assert canary.tolist() == [[15.0]]
    assert np.isnan(stable).all()
    assert two_bins.quantiles_ms(0.25, 1)[0].tolist() == [[5.0]]


def test_slow_is_beyond_an_edge_of_the_bins_and_of_nothing_else() -> None:
    found = timings(SLOW, QUICK).slow(600_000.0, 100_000.0)
    assert (int(found.canary_bad[0, 0]), int(found.stable_bad[0, 0])) == (2, 100)
    with pytest.raises(ValueError, match="no edge"):
        timings(SLOW, QUICK).slow(601_000.0, 100_000.0)
