"""The report says of everything that went otherwise than it should, and only of that."""

from dataclasses import replace

import pytest

from app.demo.fault import Outage
from app.demo.landings import Quality
from app.demo.recorded import Recall, Tallies
from app.demo.replay import Answer, Counts
from app.demo.report import Report
from app.demo.story import Ended
from app.store.pg.embedded import EmbeddedPostgres

MODELS = {"v1": {"log_loss": 0.46, "accuracy": 0.81}}


def ended(version: str, phase: str, trigger: str) -> Ended:
    return Ended(version, phase, trigger, 100, 7, seconds=9.5, decision=f"of {version}", sentence="It was so.")


AS_EXPECTED = [
    ended("v2", "promoted", "policy"),
    ended("v3", "rolled_back", "errors"),
    ended("v4", "rolled_back", "latency"),
    ended("v5", "rolled_back", "operator"),
    ended("v6", "rolled_back", "labels"),
    ended("v7", "rolled_back", "slice:carrier=MQ"),
]


def counts() -> Counts:
    seen = Counts()
    for at in range(4):
        seen.add(Answer(200, "v1", "v1", None, 0.002), float(at))
    seen.add(Answer(500, "v3", "v3", None, 0.002), 4.0)
    return seen


def quality() -> Quality:
    seen = Quality()
    for at in range(8):
        seen.add("v1", 4, wrong=at < 1)
        seen.add("v2", 5, wrong=at < 2)
        seen.add("v2", 6, wrong=at < 4)
    return seen


def report(endings: list[Ended] | None = None) -> Report:
    same = {"v1": 4, "v3": 1}
    told = endings or AS_EXPECTED
    turned_back = [one for one in told if one.phase == "rolled_back"]
    return Report(
        ended=told,
        counts=counts(),
        quality=quality(),
        labels={"joined": 20, "duplicate": 1, "invalid": 0},
        unsent=0,
        tallies=Tallies(same, dict(same), 0),
        recalls=[Recall(one.version, 100, 100, equal=True) for one in turned_back],
        decisions=[{"id": one.decision, "action": "roll_back", "sentence": one.sentence} for one in turned_back],
        seconds=10.0,
        models=MODELS,
        outage=None,
    )


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
            "decision": "of v2",
            "sentence": "It was so.",
        }
    ]
    assert [one["version"] for one in document["rolled_back"]] == ["v3", "v4", "v5", "v6", "v7"]
    assert document["recall"]["v6"] == {"listed": 100, "client_saw": 100, "equal": True}
    assert document["labels"] == {"sent": 21, "joined": 20, "duplicate": 1, "invalid": 0}
    assert document["season"] == {
        "error_by_month": {"v1": {"2013-04": 0.125}, "v2": {"2013-05": 0.25, "2013-06": 0.5}},
        "rollbacks": [],
    }
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
        (4, ended("v6", "rolled_back", "errors"), "v6 was decided by errors, not by labels"),
        (5, ended("v7", "rolled_back", "labels"), "v7 was decided by labels, not by slice"),
    ],
)
def test_another_ending_is_a_surprise(position: int, other: Ended, surprise: str) -> None:
    endings = [*AS_EXPECTED]
    endings[position] = other
    assert report(endings).surprises() == [surprise]


def test_a_chapter_that_was_not_played_is_a_surprise() -> None:
    assert report(AS_EXPECTED[:5]).surprises() == ["v7 never had its turn"]


def test_a_request_the_gateway_failed_is_a_surprise() -> None:
    story = report()
    story.counts.add(Answer(0, "", "", "transport", 0.1), 5.0)
    assert story.surprises() == ["1 requests got no answer because of the gateway"]


def test_tallies_that_differ_are_a_surprise() -> None:
    story = replace(report(), tallies=Tallies({"v1": 4}, {"v1": 3}, 0))
    assert story.surprises() == ["the recorded tallies differ from what the client counted"]
    assert story.document()["tallies"]["equal"] is False


@pytest.mark.parametrize(
    ("recall", "surprise"),
    [
        (Recall("v6", 9, 10, equal=False), "the recall of v6 lists 9 answers, and the client saw 10"),
        (
            Recall("v6", 10, 10, equal=False),
            "the recall of v6 lists 10 answers, and the client saw 10, but not the same",
        ),
    ],
)
def test_a_recall_that_is_not_what_the_client_saw_is_a_surprise(recall: Recall, surprise: str) -> None:
    story = replace(report(), recalls=[recall])
    assert story.surprises() == [surprise]


def test_labels_that_were_not_taken_or_not_joined_are_a_surprise() -> None:
    assert replace(report(), unsent=3).surprises() == ["3 labels were never taken"]
    refused = replace(report(), labels={"joined": 20, "orphan": 1, "invalid": 1})
    assert refused.surprises() == ["2 labels were of no use: orphans, unknown or invalid"]


def test_a_rollback_for_the_season_is_a_surprise() -> None:
    besides = {"id": "another", "action": "roll_back", "sentence": "v2 has become worse."}
    story = report()
    story = replace(story, decisions=[*story.decisions, besides])
    assert story.surprises() == ["'v2 has become worse.' rolled a version back outside of every chapter"]
    assert story.document()["season"]["rollbacks"] == ["v2 has become worse."]


def test_an_outage_that_never_came_is_a_surprise(tmp_path_factory: pytest.TempPathFactory) -> None:
    story = replace(report(), outage=Outage(EmbeddedPostgres(tmp_path_factory.mktemp("never") / "postgres")))
    assert story.surprises() == ["Postgres was never stopped"]
