"""Database time: as exact as the round trip, never backwards once it was measured."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.replica.clock import DatabaseClock


class Hands:
    """Two clocks a test turns."""

    def __init__(self) -> None:
        self.monotonic = 1_000.0
        self.ahead_s = 0.0

    def database(self) -> float:
        return 1_800_000_000.0 + self.monotonic + self.ahead_s

    def clock(self) -> DatabaseClock:
        return DatabaseClock(lambda: 1_700_000_000.0, lambda: self.monotonic)

    def measure(self, clock: DatabaseClock, there_s: float = 0.001, back_s: float = 0.001) -> None:
        sent = self.monotonic
        self.monotonic += there_s
        at = datetime.fromtimestamp(self.database(), UTC)
        self.monotonic += back_s
        clock.observe(sent, self.monotonic, at)


def test_before_the_first_contact_it_is_the_wall_clock() -> None:
    clock = Hands().clock()
    assert not clock.measured
    assert clock.now() == 1_700_000_000.0


@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=20))
def test_it_is_never_further_off_than_half_the_best_round_trip(trips: list[tuple[float, float]]) -> None:
    hands = Hands()
    clock = hands.clock()
    for there_s, back_s in trips:
        hands.measure(clock, there_s, back_s)
    best_s = min(there_s + back_s for there_s, back_s in trips)
    # Times travel as microseconds, floats of this size are good for a quarter of one.
    assert abs(clock.now() - hands.database()) <= best_s / 2 + 3e-6


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 10)), min_size=1, max_size=30))
def test_it_never_runs_backwards_whatever_the_database_clock_does(steps: list[tuple[float, float]]) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.measure(clock)
    last = clock.now()
    for ahead_s, passed_s in steps:
        hands.ahead_s = ahead_s
        hands.measure(clock)
        hands.monotonic += passed_s
        now = clock.now()
        assert now >= last
        last = now


def test_a_database_clock_that_was_set_back_is_met_at_half_speed() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.measure(clock)
    before = clock.now()
    hands.ahead_s = -10.0
    hands.measure(clock)
    readings = []
    for _ in range(30):
        hands.monotonic += 1.0
        readings.append(clock.now())
    assert readings[0] - before == pytest.approx(0.5, abs=0.01)
    assert readings[-1] == pytest.approx(hands.database(), abs=0.01)


def test_a_database_clock_that_was_set_forward_is_followed_at_once() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.measure(clock)
    clock.now()
    hands.ahead_s = 60.0
    hands.measure(clock)
    assert clock.now() == pytest.approx(hands.database(), abs=0.01)
