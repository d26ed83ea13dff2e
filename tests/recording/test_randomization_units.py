"""First exchanges of sticky callers: the first that was drawn, once, and no second is final without them."""

from proxy.recording import World

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Outcome, UnitRow
from app.recording.randomization_units import UNITS_PER_FLUSH, FirstExchanges
from app.recording.tally_row import OK, TIMEOUT

FRAUD = ModelName("fraud")


def test_only_the_first_exchange_that_was_drawn_counts_even_if_it_ends_last() -> None:
    world = World()
    slow = world.draw(unit=-5, salted_at=2)
    quick = world.draw(unit=-5, salted_at=2)
    world.end(quick, OK)
    assert world.recorder.collect().units == ()
    world.time.pass_(3.0)
    world.end(slow, TIMEOUT)
    (row,) = world.recorder.collect().units
    assert (row.unit, row.salted_at, row.second, row.outcome) == (-5, 2, 1_000, Outcome.TIMEOUT)
    assert (row.model, row.generation, row.version) == (FRAUD, 3, VersionName("v1"))


def test_an_exchange_without_a_salt_is_nobodys_first() -> None:
    world = World()
    world.end(world.draw(unit=7, salted_at=0))
    assert world.recorder.collect().units == ()


def test_the_hash_zero_is_a_unit_like_any_other() -> None:
    world = World()
    world.end(world.draw(unit=0, salted_at=1))
    assert [row.unit for row in world.recorder.collect().units] == [0]


def test_units_are_handed_out_until_they_are_acknowledged_and_never_again() -> None:
    world = World()
    world.end(world.draw(unit=1, salted_at=1))
    lost = world.recorder.collect()
    again = world.recorder.collect()
    assert lost.units == again.units != ()
    assert world.recorder.waiting == 2  # its row, and the unit
    world.recorder.acknowledge(again)
    world.end(world.draw(unit=1, salted_at=1))
    assert world.recorder.collect().units == ()


def test_no_second_is_final_whose_units_are_left_out() -> None:
    world = World()
    for unit in range(UNITS_PER_FLUSH):
        world.end(world.draw(unit=unit, salted_at=1))
    world.time.pass_(1.0)
    world.end(world.draw(unit=-1, salted_at=1))
    world.time.pass_(5.0)
    flush = world.recorder.collect()
    assert len(flush.units) == UNITS_PER_FLUSH
    assert flush.watermark.status == flush.watermark.latency == 1_000
    world.recorder.acknowledge(flush)
    assert world.recorder.collect().watermark.status == 1_005


def test_a_new_salt_forgets_the_units_of_the_old_one() -> None:
    first = FirstExchanges()
    assert first.is_first(FRAUD, 1, 5)
    assert not first.is_first(FRAUD, 1, 5)
    assert first.is_first(FRAUD, 2, 5)
    assert not first.is_first(FRAUD, 2, 5)
    assert first.is_first(ModelName("other"), 2, 5)


def test_when_too_many_are_followed_no_new_ones_are_whatever_their_arm() -> None:
    first = FirstExchanges(most=3)
    assert [first.is_first(FRAUD, 1, unit) for unit in (1, 2, 3, 4, 5)] == [True, True, True, False, False]
    assert first.is_first(FRAUD, 9, 4)


def test_acknowledging_what_is_not_there_changes_nothing() -> None:
    first = FirstExchanges()
    row = UnitRow(FRAUD, 1, 5, 1_000, 1, VersionName("v1"), Outcome.OK, 100)
    first.acknowledge([row])
    first.ended(row)
    first.acknowledge([row, row])
    assert len(first) == 0
