"""The shipped extract: what it holds, and what of it a request and a model see."""

import hashlib
import re

import orjson
import pytest

from app.demo.flights import (
    ABSENT,
    AIR_MINUTES_PER_SECOND,
    DATA,
    LABEL_HORIZON_S,
    NOT_KNOWN_YEAR,
    Flight,
    body,
    chance_in,
    history,
    pointer,
    replay_months,
    training_months,
)
from app.demo.late_model import NUMBERS_AT, Recipe, everything


def test_the_extract_is_small_and_is_the_one_its_provenance_describes() -> None:
    content = DATA.read_bytes()
    provenance = DATA.with_name("PROVENANCE.md").read_text()
    assert len(content) <= 1_500_000
    assert f"`{hashlib.sha256(content).hexdigest()}`" in provenance
    assert re.search(r"\b160,678\b", provenance)
    assert len(history().flights) == len(history().arr_delay) == len(history().air_time) == 160_678


def test_the_first_flight_is_the_first_of_the_year() -> None:
    first = history().flights[0]
    assert (first.month, first.day, first.minute) == (1, 1, 5 * 60 + 15)
    assert (first.carrier, first.origin, first.dest, first.distance) == ("UA", "EWR", "IAH", 1400)
    assert (first.dep_delay, history().arr_delay[0], history().air_time[0]) == (2, 11, 227)


def test_flights_are_ordered_by_scheduled_departure() -> None:
    times = [(flight.month, flight.day, flight.minute) for flight in history().flights]
    assert times == sorted(times)


def test_training_and_replay_share_no_month_and_leave_none_out() -> None:
    trained, replayed = training_months(), replay_months()
    assert {flight.month for flight in trained.flights} == {1, 2, 3}
    assert {flight.month for flight in replayed.flights} == {4, 5, 6}
    assert len(trained.flights) + len(replayed.flights) == len(history().flights)


def test_about_one_plane_in_six_has_no_known_year() -> None:
    flights = replay_months().flights
    share = sum(flight.built == NOT_KNOWN_YEAR for flight in flights) / len(flights)
    assert 0.15 < share < 0.18


def test_an_unknown_value_is_left_out_of_the_request_and_a_known_one_is_not() -> None:
    flight = history().flights[0]
    assert b'"built"' in body(flight)
    unknown = Flight(**{**flight._asdict(), **ABSENT})
    assert not any(f'"{name}"'.encode() in body(unknown) for name in ABSENT)


def test_every_feature_has_a_place_of_its_own() -> None:
    for flight in history().flights[::997]:
        positions = [at for at, _ in everything(flight)]
        assert len(set(positions)) == len(positions)
        assert all(0 <= at < Recipe.EVERYTHING.width for at in positions)


def test_an_unknown_carrier_or_airport_is_no_error() -> None:
    known: Flight = history().flights[0]
    strange = known._replace(carrier="ZZ", origin="XXX")
    ones = [at for at, _ in everything(strange) if at < NUMBERS_AT]
    assert len(ones) == len([at for at, _ in everything(known) if at < NUMBERS_AT]) - 2


@pytest.mark.parametrize("name", [name for name in Flight._fields if name not in ABSENT])
def test_an_input_that_is_never_left_out_stands_where_its_pointer_says(name: str) -> None:
    for flight in history().flights[::9_973]:
        for known in (flight, Flight(**{**flight._asdict(), **ABSENT})):
            assert orjson.loads(body(known))["inputs"][int(pointer(name).split("/")[2])]["name"] == name


def test_every_flight_lands_well_within_the_horizon_of_its_label() -> None:
    seconds = replay_months().air_time / AIR_MINUTES_PER_SECOND
    assert seconds.max() < 0.75 * LABEL_HORIZON_S


@pytest.mark.parametrize(
    ("answer", "chance"),
    [
        (b'{"outputs": [{"data": [0.25]}]}', 0.25),
        (b'{"outputs": [{"data": ["late"]}]}', None),
        (b'{"outputs": []}', None),
        (b'{"error": "KeyError"}', None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_an_answer_says_a_chance_or_it_does_not(answer: bytes, chance: float | None) -> None:
    assert chance_in(answer) == chance
