"""The report says of everything that went otherwise than it should, and only of that."""

from dataclasses import replace

import pytest

from app.demo.fault import Outage
from app.demo.replay import Answer, Counts
from app.demo.report import Report, Tallies
from app.demo.story import Ended
from app.store.embedded import EmbeddedPostgres

MODELS = {"v1": {"log_loss": 0.46, "accuracy": 0.81}}


def ended(version: str, phase: str, trigger: str) -> Ended:
    return Ended(version, phase, trigger, canary_requests=100, bad_answers=7, seconds=9.5, sentence="It was so.")


AS_EXPECTED = [
    ended("v2", "promoted", "policy"),
    ended("v3", "rolled_back", "errors"),
    ended("v4", "rolled_back", "latency"),
    ended("v5", "rolled_back", "operator"),
]


def counts() -> Counts:
    seen = Counts()
    for at in range(4):
        seen.add(Answer(200, "v1", "v1", None, 0.002), float(at))
    seen.add(Answer(500, "v3", "v3", None, 0.002), 4.0)
    return seen


def report(endings: list[Ended] | None = None) -> Report:
    same = {"v1": 4, "v3": 1}
    return Report(endings or AS_EXPECTED, counts(), Tallies(same, dict(same), 0), 10.0, MODELS, None)


def test_a_story_as_expected_has_no_surprise_and_says_all_it_measured() -> None:
    document = report().document()
    assert document["ended_as_expected"] is True
    assert document["surprises"] == []
    assert document["promoted"] == [
        {
            "version": "v2",
            "trigger": "policy",
            "canary_requests": 100,
            "bad_answers": 7,
            "seconds": 9.5,
            "sentence": "It was so.",
        }
    ]
    assert [one["version"] for one in document["rolled_back"]] == ["v3", "v4", "v5"]
    assert document["answers"] == 5
    assert document["answers_per_second"] == 0.5
    assert document["failed_by_gateway"] == 0
    assert document["failed_by_models"] == 1
    assert document["tallies"]["equal"] is True
    assert document["models"] == MODELS
    assert document["fault"] is None


@pytest.mark.parametrize(
    ("position", "other", "surprise"),
    [
        (0, ended("v2", "rolled_back", "latency"), "v2 is rolled_back, not promoted"),
        (1, ended("v3", "rolled_back", "brake"), "v3 was decided by brake, not by errors"),
        (2, ended("v4", "ramping", "evidence"), "v4 is ramping, not rolled_back"),
    ],
)
def test_another_ending_is_a_surprise(position: int, other: Ended, surprise: str) -> None:
    endings = [*AS_EXPECTED]
    endings[position] = other
    assert report(endings).surprises() == [surprise]


def test_a_chapter_that_was_not_played_is_a_surprise() -> None:
    assert report(AS_EXPECTED[:3]).surprises() == ["v5 never had its turn"]


def test_a_request_the_gateway_failed_is_a_surprise() -> None:
    story = report()
    story.counts.add(Answer(0, "", "", "transport", 0.1), 5.0)
    assert story.surprises() == ["1 requests got no answer because of the gateway"]


def test_tallies_that_differ_are_a_surprise() -> None:
    story = replace(report(), tallies=Tallies({"v1": 4}, {"v1": 3}, 0))
    assert story.surprises() == ["the recorded tallies differ from what the client counted"]
    assert story.document()["tallies"]["equal"] is False


def test_an_outage_that_never_came_is_a_surprise(tmp_path_factory: pytest.TempPathFactory) -> None:
    story = replace(report(), outage=Outage(EmbeddedPostgres(tmp_path_factory.mktemp("never") / "postgres")))
    assert story.surprises() == ["Postgres was never stopped"]
