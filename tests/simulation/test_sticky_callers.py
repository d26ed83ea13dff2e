"""Sticky callers: some call a thousand times and some of those always fail, whoever answers.

Judged by exchanges, a caller's bad luck is held against the version it landed on again and again; judged
by callers' first exchanges, each is one coin.
"""

from functools import cache
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from app.domain.catalog.routing import FULL_BP, Route, draw, sticky_place
from app.domain.stats.eprocess import Outcomes, log_e_tilt
from bench.judging.coin import turnback
from bench.judging.traffic import Traffic
from bench.world import CANARY, MODEL, STABLE

ALPHA = 0.01
CALLERS = 2_000
RUNS = 400
LOOK = 100
RAMP_BP = (500, 2_000, 5_000)


@cache
def calls() -> NDArray[np.int64]:
    """Calls per caller: half call once, one in a thousand calls a thousand times."""
    return np.minimum(1_000, (1.0 / (1.0 - np.arange(CALLERS) / CALLERS)).astype(np.int64))


@cache
def failing() -> NDArray[np.float64]:
    """Each caller's chance of a bad answer, the same from both versions: three in a hundred mostly fail."""
    return np.where(np.random.default_rng(5).random(CALLERS) < 0.03, 0.9, 0.001)


def on_canary(salt: bytes, weight_bp: int) -> NDArray[np.bool_]:
    """Which callers the product itself puts on the canary, by caller."""
    route = Route(MODEL, 1, STABLE, {STABLE: FULL_BP - weight_bp, CANARY: weight_bp}, salt=salt)
    places = (sticky_place(b"caller-%d" % caller, salt) for caller in range(CALLERS))
    return np.array([draw(route, place.point) == CANARY for place in places])


def is_turned_back(canary: NDArray[np.bool_], bad: NDArray[np.bool_]) -> bool:
    """Whether the product's test turns the canary back at any of the looks, in the order of the exchanges."""
    whole = len(canary) // LOOK * LOOK
    groups = (canary, ~canary, canary & bad, ~canary & bad)
    on_canary, on_stable, canary_bad, stable_bad = (group[:whole].reshape(1, -1, LOOK).sum(axis=2) for group in groups)
    traffic = Traffic(np.array([[FULL_BP // 2]]), on_canary, on_stable, canary_bad, stable_bad, interval=1)
    return bool(np.isfinite(turnback(traffic, ALPHA).rolled_back).any())


def played(run: int, worse_by: float = 0.0) -> tuple[bool, bool]:
    """One rollout at half the callers: whether it is turned back by exchanges, and by first exchanges."""
    rng = np.random.default_rng([9, run])
    salt = rng.bytes(16)
    order = rng.permutation(np.repeat(np.arange(CALLERS), calls()))
    canary = on_canary(salt, FULL_BP // 2)[order]
    bad = rng.random(len(order)) < failing()[order] + worse_by * canary
    firsts = np.sort(np.unique(order, return_index=True)[1])
    return is_turned_back(canary, bad), is_turned_back(canary[firsts], bad[firsts])


def test_a_healthy_version_is_turned_back_one_time_in_a_hundred_by_callers_and_often_by_exchanges() -> None:
    by_exchanges, by_callers = np.array([played(run) for run in range(RUNS)]).sum(axis=0)
    # Exact binomial bounds at 0.1 %: with a true share of 1 % more than 11 of 400 would refute it, and with
    # one of 20 % fewer than 55 would.
    assert binom.sf(by_callers - 1, RUNS, ALPHA) > 0.001, f"{by_callers} of {RUNS}"
    assert by_exchanges >= 0.2 * RUNS, f"{by_exchanges} of {RUNS}"


def test_a_bad_version_is_found_by_callers() -> None:
    assert all(by_callers for _, by_callers in (played(run, worse_by=0.1) for run in range(40)))


def ramped(run: int) -> bool:
    """Whether a healthy canary is turned back by first exchanges while its weight goes up in three steps."""
    rng = np.random.default_rng([10, run])
    salt = rng.bytes(16)
    order = rng.permutation(np.repeat(np.arange(CALLERS), calls()))
    first_comers = order[np.sort(np.unique(order, return_index=True)[1])]
    bad = rng.random(CALLERS) < failing()[first_comers]
    epochs: list[Outcomes] = []
    for weight_bp, met in zip(RAMP_BP, np.array_split(np.arange(CALLERS), len(RAMP_BP)), strict=True):
        canary = on_canary(salt, weight_bp)[first_comers[met]]
        looks = [counted(weight_bp, canary[:end], bad[met][:end]) for end in range(LOOK, len(met) + 1, LOOK)]
        if any(log_e_tilt([*epochs, look]) >= log(1.0 / ALPHA) for look in looks):
            return True
        epochs.append(counted(weight_bp, canary, bad[met]))
    return False


def counted(weight_bp: int, canary: NDArray[np.bool_], bad: NDArray[np.bool_]) -> Outcomes:
    """Both arms' bad and good first exchanges at one weight."""
    arms = (canary & bad, ~canary & bad, canary & ~bad, ~canary & ~bad)
    return Outcomes(weight_bp / FULL_BP, *(int(arm.sum()) for arm in arms))


def test_a_ramp_that_moves_callers_to_the_canary_turns_no_healthy_version_back() -> None:
    turned_back = sum(ramped(run) for run in range(RUNS // 2))
    # With a true share of 1 %, more than 8 of 200 would be refuted at 0.1 %.
    assert binom.sf(turned_back - 1, RUNS // 2, ALPHA) > 0.001, f"{turned_back} of {RUNS // 2}"
