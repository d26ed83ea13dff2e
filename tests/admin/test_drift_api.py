"""What the admin API says of drift: whole windows beside a reference, and nothing that could act."""

import uuid
from collections.abc import AsyncIterator

import numpy as np
import pytest
from admin.admin_client import AdminClient, admin_client

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import SpreadRow
from app.domain.evidence.tally import TallyKey, Watermark
from app.domain.stats.histogram import Spread, histogram_of
from app.store.evidence import observed
from app.store.pg.database import Database
from app.store.routing import replicas

START, WINDOW_S = 1_800_000_000, 60


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        await client.model()
        yield client


def spread(rng: np.random.Generator, moved: float) -> Spread:
    values = {name: histogram_of((rng.normal(size=200) + by).tolist()) for name, by in (("age", moved), ("miles", 0.0))}
    return Spread(histogram_of(np.where(rng.random(200) < 0.3, "late", "on time").tolist()), values)


async def seen(database: Database, moved: list[float], versions: tuple[str, ...] = ("v1",), *, weight: int = 1) -> None:
    """So many windows of ten-second rows, of which the feature `age` has moved by so much."""
    rng = np.random.default_rng(8)
    rows = [
        SpreadRow(TallyKey(START + 10 * place, ModelName("fraud"), weight, VersionName(version)), spread(rng, by), 1)
        for version in versions
        for place, by in enumerate(by for by in moved for _ in range(WINDOW_S // 10))
    ]
    through = START + len(moved) * WINDOW_S + 5
    async with database.transaction() as tx:
        boot = str(uuid.uuid4())
        await observed.upsert(tx, boot, rows)
        await replicas.beat(tx, boot, "proxy", Watermark(through, through), 1, ())


def flagged(found: dict[str, list[dict[str, object]]]) -> list[object]:
    return [each["name"] for each in found["distributions"] if each["flagged"]]


async def test_a_window_is_held_against_the_first_one_and_only_when_it_is_over(
    admin: AdminClient, database: Database
) -> None:
    await seen(database, [0.0, 0.0, 0.7])
    found = await admin.ok("GET", "/v1/models/fraud/drift", window_s=WINDOW_S)
    assert (found["version"], found["reference"], found["window_number"]) == ("v1", "bake-in", 2)
    assert flagged(found) == ["age"]
    assert [(each["name"], each["n"], each["reference_n"]) for each in found["distributions"]] == [
        ("predictions", 1_200, 1_200),
        ("age", 1_200, 1_200),
        ("miles", 1_200, 1_200),
    ]
    assert found["distributions"][1]["effect"]["psi"] > found["floor"] > found["distributions"][2]["effect"]["psi"]
    assert (found["beside_stable"], found["traffic_changed"]) == (None, [])
    calm = await admin.ok("GET", "/v1/models/fraud/drift", window_s=WINDOW_S, floor=10)
    assert flagged(calm) == []
    long = await admin.ok("GET", "/v1/models/fraud/drift")
    assert (long["since"], long["window_number"], long["distributions"]) == (None, None, [])


async def test_what_moved_for_both_versions_of_a_rollout_is_the_traffics_doing(
    admin: AdminClient, database: Database
) -> None:
    await admin.rollout()
    await seen(database, [0.0, 0.7], ("v1", "v2"))
    found = await admin.ok("GET", "/v1/models/fraud/drift", window_s=WINDOW_S, version="v2")
    assert (flagged(found), found["traffic_changed"]) == (["age"], ["age"])
    assert (found["beside_stable"]["canary"], found["beside_stable"]["stable"]) == ("v2", "v1")


async def trickle(database: Database, counts: list[int]) -> None:
    """Windows with so many exchanges each, all in their first row."""
    rng = np.random.default_rng(9)
    rows = [
        SpreadRow(
            TallyKey(START + WINDOW_S * place, ModelName("fraud"), 1, VersionName("v1")),
            Spread(features={"age": histogram_of(rng.normal(size=n).tolist())}),
            1,
        )
        for place, n in enumerate(counts)
    ]
    through = START + len(counts) * WINDOW_S
    async with database.transaction() as tx:
        boot = str(uuid.uuid4())
        await observed.upsert(tx, boot, rows)
        await replicas.beat(tx, boot, "proxy", Watermark(through, through), 1, ())


async def test_a_bake_in_that_saw_too_little_goes_on_until_it_says_what_is_usual(
    admin: AdminClient, database: Database
) -> None:
    await trickle(database, [1, 40, 300, 300, 900])
    found = await admin.ok("GET", "/v1/models/fraud/drift", window_s=WINDOW_S)
    assert (found["reference"], found["window_number"]) == ("bake-in", 1)
    (age,) = found["distributions"]
    assert (age["n"], age["reference_n"], age["reference"]) == (900, 641, "bake-in")
    assert age["effect"] is not None
    assert found["bake_in_until"] == found["since"]


async def test_before_the_bake_in_saw_enough_nothing_is_held_against_it(admin: AdminClient, database: Database) -> None:
    await trickle(database, [1, 40, 90])
    found = await admin.ok("GET", "/v1/models/fraud/drift", window_s=WINDOW_S)
    assert (found["since"], found["bake_in_until"], found["distributions"]) == (None, None, [])


async def test_what_a_training_reference_does_not_say_is_held_against_the_bake_in(
    admin: AdminClient, database: Database
) -> None:
    await admin.ok("POST", "/v1/models", {"name": "rain", "features": [{"name": "age", "pointer": "/age"}]})
    trained = np.random.default_rng(1).normal(size=900).tolist()
    version = {"urls": ["http://127.0.0.1:9001"], "credentials": {"reference": {"features": {"age": trained}}}}
    await admin.ok("PUT", "/v1/models/rain/versions/v1", version)
    rng = np.random.default_rng(8)
    rows = [
        SpreadRow(TallyKey(START + 10 * place, ModelName("rain"), 1, VersionName("v1")), spread(rng, 0.0), 1)
        for place in range(12)
    ]
    async with database.transaction() as tx:
        boot = str(uuid.uuid4())
        await observed.upsert(tx, boot, rows)
        await replicas.beat(tx, boot, "proxy", Watermark(START + 125, START + 125), 1, ())
    found = await admin.ok("GET", "/v1/models/rain/drift", window_s=WINDOW_S)
    told = {each["name"]: (each["reference"], each["reference_n"]) for each in found["distributions"]}
    assert told["age"] == ("training", 900)
    assert told["predictions"] == ("bake-in", 1_200)
    assert found["bake_in_until"] is not None


@pytest.mark.parametrize(
    "query", ["window_s=15", "window_s=0", "window_s=90000", "floor=nan", "floor=-1", "floor=inf", "version=-"]
)
async def test_what_cannot_be_asked_is_refused(admin: AdminClient, query: str) -> None:
    await admin.problem(422, "GET", f"/v1/models/fraud/drift?{query}")


async def test_unknown_models_and_versions_are_not_found(admin: AdminClient) -> None:
    assert (await admin.problem(404, "GET", "/v1/models/nobody/drift"))["code"] == "UnknownModel"
    assert (await admin.problem(404, "GET", "/v1/models/fraud/drift?version=v9"))["code"] == "UnknownVersion"
    await admin.ok("POST", "/v1/models", {"name": "empty"})
    await admin.problem(422, "GET", "/v1/models/empty/drift")


async def test_who_names_the_drift_guardrail_is_told_and_who_wants_more_says_so(admin: AdminClient) -> None:
    for said, acts in (({}, "warn"), ({"on_regression": "rollback"}, "rollback")):
        policy = {"guardrails": [{"metric": "errors"}, {"metric": "drift", **said}]}
        body = {"canary": "v2", "policy": policy, "reason": "a new build"}
        started = await admin.ok("POST", "/v1/models/fraud/rollouts", body)
        (drift,) = (each for each in started["policy"]["guardrails"] if each["metric"] == "drift")
        assert drift["on_regression"] == acts
        await admin.ok("POST", f"/v1/rollouts/{started['id']}:abort", {"reason": "seen"})
