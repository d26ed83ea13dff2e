"""The engine's benchmark: its many runs decide as the product does, its rivals behave as documented."""

import json
from math import log

import numpy as np
import pytest

from app.domain.evidence import Outcomes, log_e_tilt
from bench import flagger
from bench.coin import Bench, Totals, draw, interval95, ours, peeking_z
from bench.decide import Size, measure, run


@pytest.mark.parametrize(("weight", "alpha"), [(0.05, 0.2), (0.5, 0.01)])
def test_the_table_of_many_runs_decides_as_the_product_does(weight: float, alpha: float) -> None:
    totals = draw(Bench(0.06, 0.02, look=50, horizon=2_000, weight=weight), 30, np.random.default_rng(5))
    decided = ours(totals, weight, alpha)
    assert decided.any()
    assert not decided.all()
    for index in np.ndindex(*decided.shape):
        epoch = Outcomes(weight, int(totals.canary_bad[index]), int(totals.stable_bad[index]))
        assert decided[index] == (log_e_tilt([epoch]) >= log(1 / alpha))


def test_the_draws_have_the_rates_they_should_have() -> None:
    totals = draw(Bench(0.3, 0.1, look=10, horizon=1_000, weight=0.2), 400, np.random.default_rng(6))
    canary, stable = totals.canary[:, -1].sum(), (totals.exchanges - totals.canary)[:, -1].sum()
    assert canary / (canary + stable) == pytest.approx(0.2, abs=0.005)
    assert totals.canary_bad[:, -1].sum() / canary == pytest.approx(0.3, abs=0.01)
    assert totals.stable_bad[:, -1].sum() / stable == pytest.approx(0.1, abs=0.005)


def test_the_rival_z_test_rejects_at_its_textbook_limit() -> None:
    def one(canary_bad: int) -> bool:
        counts = (np.array([[value]]) for value in (20_000, 10_000, canary_bad, 100))
        return bool(peeking_z(Totals(*counts), 0.5, 0.01)[0, 0])

    # z = (a - 100) / sqrt((a + 100) (1 - p)): 2.31 at 135 and 2.37 at 136.
    assert (one(134), one(137)) == (False, True)
    assert not one(0)


def test_flaggers_race_ends_as_its_documentation_implies() -> None:
    rng = np.random.default_rng(7)
    assert flagger.race(0.0, 0.0, 1_000, 50, rng) == flagger.Race(50, 0, 0.0)
    assert flagger.race(1.0, 0.0, 1_000, 50, rng).rolled_back == 50
    healthy = flagger.race(0.01, 0.01, 1_000, 4_000, rng)
    assert healthy.rolled_back / 4_000 == pytest.approx(0.335, abs=0.03)
    missed = flagger.race(0.02, 0.01, 100, 4_000, rng)
    assert missed.promoted / 4_000 == pytest.approx(0.68, abs=0.03)


def test_an_interval_holds_its_share_and_no_impossible_one() -> None:
    assert interval95(0, 100) == pytest.approx((0.0, 0.0362), abs=1e-4)
    assert interval95(100, 100)[1] == 1.0
    low, high = interval95(22, 4_000)
    assert low < 22 / 4_000 < high


@pytest.mark.bench
def test_the_smallest_bench_is_one_json_document_that_its_seed_repeats() -> None:
    said: list[str] = []
    first = measure(Size(quick=True, most=1), 9, said.append)
    again = measure(Size(quick=True, most=1), 9, said.append)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert set(first["delays"]) == {"1.5%", "2%", "5%", "50%"}
    assert set(first["versus"]) == {"peeking_z", "flagger"}
    assert {"rate", "runs", "ci95", "rolled_back"} <= set(first["null"])
    assert all(line.endswith(".") for line in said)
    assert run.__annotations__["quick"] is bool
