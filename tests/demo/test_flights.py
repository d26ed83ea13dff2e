"""The shipped extract: what it holds, and that models can be told apart on it."""

import hashlib
import re

import pytest

from app.demo.flights import ABSENT, DATA, NOT_KNOWN_YEAR, Flight, body, history, replay_months, training_months
from app.demo.model_server import BUILDS
from app.demo.scoring import NUMBERS_AT, Quality, Recipe, everything, quality, train


def test_the_extract_is_small_and_is_the_one_its_provenance_describes() -> None:
    content = DATA.read_bytes()
    provenance = DATA.with_name("PROVENANCE.md").read_text()
    assert len(content) <= 1_500_000
    assert f"`{hashlib.sha256(content).hexdigest()}`" in provenance
    assert re.search(r"\b160,678\b", provenance)
    assert len(history().flights) == len(history().arr_delay) == 160_678


def test_the_first_flight_is_the_first_of_the_year() -> None:
    first = history().flights[0]
    assert (first.month, first.day, first.minute) == (1, 1, 5 * 60 + 15)
    assert (first.carrier, first.origin, first.dest, first.distance) == ("UA", "EWR", "IAH", 1400)
    assert history().arr_delay[0] == 11


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


@pytest.fixture(scope="module")
def qualities() -> dict[str, Quality]:
    return {
        version: quality(train(build.recipe, training_months().months(build.from_month, 3)), replay_months())
        for version, build in BUILDS.items()
        if version in {"v1", "v2", "v5"}
    }


def test_v2_is_better_than_v1_on_flights_neither_has_seen(qualities: dict[str, Quality]) -> None:
    assert qualities["v2"].log_loss < qualities["v1"].log_loss - 0.01
    assert qualities["v2"].accuracy > qualities["v1"].accuracy


def test_v5_is_another_model_about_as_good_as_v2(qualities: dict[str, Quality]) -> None:
    assert qualities["v5"].log_loss != qualities["v2"].log_loss
    assert qualities["v5"].log_loss == pytest.approx(qualities["v2"].log_loss, abs=0.005)
