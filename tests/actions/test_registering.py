"""Registering: idempotent by name, never a silent change, the first version takes all traffic."""

import asyncio
from dataclasses import replace

import pytest

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.domain.catalog.models import Match, Model, ModelName, Timeouts, Version, VersionName
from app.domain.catalog.routing import FULL_BP
from app.errors import InvalidInput, NameTaken, UnknownModel, UpstreamNotAllowed
from app.store.rollouts import audit, decisions
from app.store.routing import catalog, routes

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
FIRST = Version(FRAUD, V1, ("http://127.0.0.1:9000",), Timeouts(1.0, 2.0, 3.0, 4.0), "/ready")


async def test_registering_the_same_twice_changes_nothing(means: Means) -> None:
    model = Model(FRAUD, Match("fraud.example", "/score"), "x-user")
    assert await register_model(means, model, actor="ann")
    assert not await register_model(means, model, actor="ann")
    assert await register_version(means, FIRST, actor="ann")
    assert not await register_version(means, FIRST, actor="ann")
    async with means.database.transaction() as tx:
        assert await catalog.models(tx) == ([model], {})
        assert await catalog.versions(tx, FRAUD) == (FIRST,)
        assert len(await audit.entries(tx)) == 2


async def test_a_name_never_comes_to_mean_something_else(means: Means) -> None:
    await register_model(means, Model(FRAUD), actor="ann")
    await register_version(means, FIRST, actor="ann")
    with pytest.raises(NameTaken):
        await register_model(means, Model(FRAUD, sticky_header="x-user"), actor="ann")
    with pytest.raises(NameTaken):
        await register_version(means, replace(FIRST, urls=("http://127.0.0.1:9001",)), actor="ann")


async def test_two_models_never_claim_the_same_requests(means: Means) -> None:
    await register_model(means, Model(FRAUD, Match(path_prefix="/score")), actor="ann")
    await register_model(means, Model(ModelName("none")), actor="ann")
    await register_model(means, Model(ModelName("neither")), actor="ann")
    with pytest.raises(NameTaken) as refused:
        await register_model(means, Model(ModelName("spam"), Match(path_prefix="/score")), actor="ann")
    assert refused.value.members["field"] == "/match"


async def test_the_first_version_takes_all_traffic_and_the_second_none(fraud: Means) -> None:
    async with fraud.database.transaction() as tx:
        table = await routes.table(tx)
        made = await decisions.made(tx, model=FRAUD)
    (routed,) = table.models
    assert (routed.route.generation, routed.route.stable, routed.route.weights_bp) == (1, V1, {V1: FULL_BP})
    assert [version.name for version in routed.versions] == ["v1", "v2", "v3"]
    assert [(decision.action, decision.actor, decision.generation_after) for decision in made] == [
        ("register", "ann", 1)
    ]


async def test_every_registration_moves_the_revision(means: Means) -> None:
    async def revision() -> int:
        async with means.database.transaction() as tx:
            return (await routes.revision(tx)).revision

    seen = [await revision()]
    await register_model(means, Model(FRAUD), actor="ann")
    seen.append(await revision())
    for name in (V1, V2):
        await register_version(means, replace(FIRST, name=name), actor="ann")
        seen.append(await revision())
    await register_version(means, FIRST, actor="ann")
    assert await revision() == seen[-1]
    assert seen == sorted(set(seen))


async def test_two_first_versions_at_once_leave_one_stable_and_both_registered(means: Means) -> None:
    await register_model(means, Model(FRAUD), actor="ann")
    both = (FIRST, replace(FIRST, name=V2))
    assert await asyncio.gather(*(register_version(means, version, actor="ann") for version in both)) == [True, True]
    async with means.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
        assert {version.name for version in await catalog.versions(tx, FRAUD)} == {V1, V2}
    assert route is not None
    assert route.weights_bp == {route.stable: FULL_BP}


async def test_an_upstream_off_the_list_is_refused_and_leaves_no_trace(means: Means) -> None:
    await register_model(means, Model(FRAUD), actor="ann")
    with pytest.raises(UpstreamNotAllowed):
        await register_version(means, replace(FIRST, urls=("http://169.254.169.254/latest",)), actor="ann")
    async with means.database.transaction() as tx:
        assert await catalog.versions(tx, FRAUD) == ()


async def test_urls_are_stored_in_their_one_spelling_and_named_once(means: Means) -> None:
    await register_model(means, Model(FRAUD), actor="ann")
    urls = ("http://127.0.0.1/", "https://localhost/v2/")
    await register_version(means, replace(FIRST, urls=urls, server_name="models.test"), actor="ann")
    async with means.database.transaction() as tx:
        (stored,) = await catalog.versions(tx, FRAUD)
    assert stored.urls == ("http://127.0.0.1:80", "https://localhost:443/v2")
    assert not await register_version(means, stored, actor="ann")
    for wrong, field in (
        ((), "/urls"),
        (("http://127.0.0.1", "http://127.0.0.1:80/"), "/urls/1"),
        (("http://127.0.0.1:1", "http://10.0.0.1"), "/urls/1"),
        (("http://127.0.0.1:1",), "/server_name"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await register_version(means, replace(stored, name=V2, urls=wrong), actor="ann")
        assert refused.value.field == field


async def test_a_version_needs_its_model(means: Means) -> None:
    with pytest.raises(UnknownModel):
        await register_version(means, FIRST, actor="ann")
