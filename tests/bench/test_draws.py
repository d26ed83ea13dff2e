"""The benchmark's streams have the rates, weights and delays they say they have."""

import numpy as np
import pytest

from app.domain.stats.eprocess import Outcomes, log_e_tilt
from bench.judging.callers import StickyCallers
from bench.judging.draws import BurstsWhileEvidenceSteers, OutcomesKnownLate, RampWhileRatesRise, Steady
from bench.judging.situations import SITUATIONS, Situation
from bench.judging.traffic import Counts, Traffic, first, race, rollback_only

RNG_SEED = 6


def rates(traffic: Traffic) -> tuple[float, float]:
    return traffic.canary_bad.sum() / traffic.canary.sum(), traffic.stable_bad.sum() / traffic.stable.sum()


def test_a_steady_stream_has_its_rates_and_its_weight() -> None:
    traffic = Steady(0.3, 0.1, weight_bp=2_000, per_look=10, looks=100).draw(400, np.random.default_rng(RNG_SEED)).seen
    assert traffic.canary.sum() / traffic.exchanges[:, -1].sum() == pytest.approx(0.2, abs=0.005)
    assert rates(traffic) == pytest.approx((0.3, 0.1), abs=0.01)
    assert (traffic.exchanges[:, -1] == 1_000).all()


def test_a_ramp_s_pooled_rates_differ_although_each_look_s_do_not() -> None:
    traffic = RampWhileRatesRise().draw(50, np.random.default_rng(RNG_SEED)).seen
    canary, stable = rates(traffic)
    assert canary > 1.2 * stable
    assert np.unique(traffic.weight_bp).tolist() == [100, 500, 2_500, 5_000]
    last = slice(-50, None)
    late = [each[:, last].sum() for each in counts(traffic)]
    assert (late[2] / late[0], late[3] / late[1]) == pytest.approx((0.02, 0.02), abs=0.003)


def counts(traffic: Traffic) -> tuple[Counts, ...]:
    return traffic.canary, traffic.stable, traffic.canary_bad, traffic.stable_bad


def test_evidence_moves_the_weights_a_rung_down_at_ten_and_a_rung_up_below_three() -> None:
    traffic = BurstsWhileEvidenceSteers(looks=100).draw(150, np.random.default_rng(RNG_SEED)).seen
    moved = {"up": 0, "down": 0}
    for run in range(150):
        epochs: dict[int, list[int]] = {}
        for look in range(99):
            weight, after = int(traffic.weight_bp[run, look]), int(traffic.weight_bp[run, look + 1])
            bad = epochs.setdefault(weight, [0, 0])
            bad[0] += int(traffic.canary_bad[run, look])
            bad[1] += int(traffic.stable_bad[run, look])
            e = np.exp(log_e_tilt([Outcomes(each / 10_000, *of) for each, of in epochs.items()]))
            if e >= 10.0:
                assert after < weight or weight == 100
                moved["down"] += after < weight
            elif (look + 1) % 10 == 0 and e < 3.0:
                assert after > weight or weight == 5_000
                moved["up"] += after > weight
            else:
                assert after == weight
    assert min(moved.values()) > 0


def test_only_stable_s_failures_are_seen_late_and_what_is_judged_is_both_arms_of_the_same_seconds() -> None:
    seen, judged = OutcomesKnownLate(0.05, per_look=1_000, looks=60).draw(5, np.random.default_rng(RNG_SEED))
    assert not seen.stable_bad[:, :30].any()
    assert seen.canary_bad[:, :30].any()
    assert not judged.canary[:, :30].any()
    assert (judged.canary_bad[:, 30:] == seen.canary_bad[:, :30]).all()
    assert (judged.stable_bad == seen.stable_bad).all()
    assert (judged.canary + judged.stable)[:, 30:].tolist() == np.full((5, 30), 1_000).tolist()


def test_sticky_callers_first_exchanges_are_a_part_of_all_exchanges_and_as_many_as_callers_who_came() -> None:
    stream = StickyCallers(callers=300, looks=2_000)
    seen, judged = stream.draw(20, np.random.default_rng(RNG_SEED))
    for every, some in zip(counts(seen), counts(judged), strict=True):
        assert (some <= every).all()
    came = judged.exchanges[:, -1]
    assert (came <= 300).all()
    assert came.mean() > 290
    assert seen.exchanges[:, -1].mean() == pytest.approx(200_000, rel=0.01)
    canary, stable = rates(judged)
    assert (canary + stable) / 2 == pytest.approx(0.01, abs=0.004)


def test_analysed_by_exchange_sticky_callers_spread_far_more_than_a_coin_would() -> None:
    seen, judged = StickyCallers().draw(60, np.random.default_rng(RNG_SEED))
    spread = []
    for traffic in (seen, judged):
        bad = traffic.canary_bad.sum(axis=1), traffic.stable_bad.sum(axis=1)
        all_bad = bad[0] + bad[1]
        spread.append(float(np.var((bad[0] - all_bad / 2) / np.sqrt(all_bad / 4))))
    assert spread[0] > 20.0
    assert spread[1] < 3.0


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_a_situation_is_drawn_again_by_its_seed_and_is_healthy_when_its_arms_are_alike(situation: Situation) -> None:
    once, again = (situation.stream.draw(2, np.random.default_rng(3)).seen for _ in range(2))
    assert all((left == right).all() for left, right in zip(counts(once), counts(again), strict=True))
    assert situation.healthy == situation.name.startswith("same")


def test_a_race_ends_once_and_the_bad_sign_wins_a_tie() -> None:
    bad = np.array([[False, True], [False, False], [False, False], [True, True]])
    good = np.array([[False, True], [True, True], [False, False], [False, True]])
    ends = race(bad, good, looks=10)
    assert ends.rolled_back.tolist() == [19.0, np.inf, np.inf, 9.0]
    assert ends.promoted.tolist() == [np.inf, 9.0, np.inf, np.inf]
    assert first(np.zeros((2, 0), dtype=bool)).tolist() == [np.inf, np.inf]
    assert rollback_only(bad).promoted.tolist() == [np.inf] * 4


def test_an_incomplete_interval_is_left_out() -> None:
    steady = Steady(0.5, looks=25).draw(3, np.random.default_rng(RNG_SEED)).seen
    assert steady.by(10).canary.shape == (3, 2)
    assert (steady.by(10).canary.sum(axis=1) == steady.canary[:, :20].sum(axis=1)).all()
