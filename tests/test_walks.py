"""A request, a tick and a label run through few packages, and through the files that docs/architecture.md says.

Rule: a function that runs counts the package its module is in; a module right under a folder counts as that folder.
"""

import gc
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import FrameType
from typing import Final
from uuid import uuid4

import orjson
import pytest
from controller.test_controller import World
from fakes.upstream_server import ok, upstream
from feedback import feedback_client
from feedback.feedback_client import Exchange, made_desk, register
from proxy.answering import output, v2
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import Talk, post, talking

from app import compiled
from app.domain.catalog.models import Observation
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import Phase
from app.feedback.own_paths import Build, inference_app
from app.proxy import Limits
from app.recording.journal import Journal
from app.store.pg.database import Database

PROJECT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
# How few packages the layout is made for, and how few it is: a figure of TODAY may fall, and never rises.
GOAL: Final = {"request": 11, "tick": 11, "label": 9}
TODAY: Final = {"request": 11, "tick": 12, "label": 9}
# Both versions have answered a few times by then, over connections that are kept.
WARM_UP: Final = 12
# Every deadline is looked at by a timer of its own, which is no step of a request's.
UNSWEPT: Final = Limits(sweep_s=3_600.0)

frames_are_seen = pytest.mark.skipif(compiled.is_in_use(), reason="compiled functions have no frames to count")


class Walk:
    """Modules of ours of which a function ran on this thread."""

    def __init__(self) -> None:
        self.modules: set[str] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        before = sys.getprofile()
        # Nothing that another test left behind ends in the midst of this.
        gc.collect()
        gc.disable()
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(before)
            gc.enable()

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        name: str = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("app."):
            self.modules.add(name)

    @property
    def packages(self) -> set[str]:
        return {name.rpartition(".")[0] for name in self.modules}

    def check(self, name: str) -> None:
        """It is as short as it was, and every file that the page names is a step of it."""
        assert len(self.packages) <= TODAY[name], f"{len(self.packages)} packages:\n" + "\n".join(sorted(self.packages))
        page = section(f"### A {name}")
        assert f": {TODAY[name]} packages." in page
        rows = re.findall(r"^\|.*", page, re.MULTILINE)
        steps = {path.removesuffix(".py").replace("/", ".") for row in rows for path in paths_named(row)}
        assert len(steps) > 10
        assert steps - self.modules == set(), "\n".join(sorted(self.modules))


def section(heading: str) -> str:
    """The page from this heading to the next one."""
    _, found, rest = PAGE.partition(f"\n{heading}\n")
    assert found, heading
    return re.split(r"\n##", rest, maxsplit=1)[0]


def paths_named(text: str) -> list[str]:
    """Files end in `.py`, folders without a slash."""
    return re.findall(r"\bapp/[\w/]*\w(?:\.py)?", text)


@frames_are_seen
async def test_a_request_on_a_warm_connection(tmp_path: Path) -> None:
    """Its answer is read too; nothing is swept or collected meanwhile, and all routes and heads are known."""
    walk = Walk()
    answer = ok(v2(output("y", "FP64", [1], [0.5])), b"content-type: application/json")
    async with upstream(answer) as server:
        model = routed({"v1": server.url, "v2": server.url}, {"v1": 5_000, "v2": 5_000})
        model = replace(model, model=replace(model.model, observation=Observation()))
        gateway = gateway_with(table_of(model), coin=cycle((0.1, 0.9)).__next__, limits=UNSWEPT)
        journal = Journal(tmp_path, uuid4().hex, gateway.recorder)
        await journal.open()
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(WARM_UP):
                await ask(talk, post(), 200)
            with walk.watched():
                await ask(talk, post(), 200)
        await journal.close()
    walk.check("request")


async def test_a_tick_over_one_ramping_rollout(database: Database) -> None:
    """The guardrails are the usual ones, there is new evidence, and the canary goes up.

    Twelve packages, not eleven, because `app` itself is one: each look is a beat (`app/loops.py`), and each
    decision is counted (`app/telemetry.py`).
    """
    walk = Walk()
    world = World(database)
    rollout_id = await world.rollout("fraud", replace(DEFAULT_POLICY, warmup_s=0.0, max_extra_bad=1_000.0))
    start = await world.now()
    await world.controller.tick()
    await world.traffic("fraud", start + 1, stable=9_000, canary=1)
    await world.controller.tick()
    await world.traffic("fraud", start + 2, stable=9_000, canary=2)
    before = await world.last_decision("fraud")
    with walk.watched():
        await world.controller.tick()
    stored, decision = await world.stored(rollout_id), await world.last_decision("fraud")
    assert (stored.phase, decision.action) == (Phase.RAMPING, "advance")
    assert decision.id != before.id
    walk.check("tick")


@frames_are_seen
async def test_a_label_by_its_receipt(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way from the client's socket to Postgres."""
    walk = Walk()
    # A gateway has its table; only the client of other tests makes one for each label.
    made = feedback_client.table()
    monkeypatch.setattr(feedback_client, "table", lambda: made)
    await register(database)
    app = inference_app(Build("test", "boot"), made_desk(database, tmp_path))
    labels = [post(label(), "/turnback/v1/feedback", "content-type: application/json") for _ in range(WARM_UP + 1)]
    async with serving(gateway_with(table_of(), limits=UNSWEPT), app) as port, talking(port) as talk:
        for each in labels[1:]:
            await ask(talk, each, 202)
        with walk.watched():
            taken = await ask(talk, labels[0], 202)
    assert (taken["joined"], taken["accepted"]) == (1, "stored")
    walk.check("label")


def label() -> bytes:
    return orjson.dumps({"receipt": Exchange().receipt(), "label": 1})


async def ask(talk: Talk, raw: bytes, status: int) -> dict[str, object]:
    answer = await talk.ask(raw)
    assert answer.status == status, answer
    document: dict[str, object] = orjson.loads(answer.body)
    return document


def test_the_tick_alone_is_above_its_goal() -> None:
    assert {name: TODAY[name] - goal for name, goal in GOAL.items() if TODAY[name] != goal} == {"tick": 1}


def test_every_path_that_the_page_names_is_there() -> None:
    named = paths_named(PAGE)
    assert len(named) > 50
    assert [path for path in named if not (PROJECT / path).exists()] == []
    tests = {path.name for path in (PROJECT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"\btest_\w+\.py", PAGE)) - tests == set()


def test_the_picture_shows_every_package_once_and_its_rooms_in_the_contracts_order() -> None:
    shown = rooms()
    packages = sorted(str(path.parent.relative_to(PROJECT)) for path in (PROJECT / "app").rglob("*/__init__.py"))
    assert sorted(path for path in shown if not path.endswith(".py")) == packages
    assert list(arrows_up(shown)) == []


def rooms() -> list[str]:
    """What the picture shows, from above to below."""
    drawn = re.search(r"```\n(.*?)```", section("## The rooms"), re.DOTALL)
    assert drawn is not None
    return paths_named(drawn[1])


def arrows_up(shown: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of rooms of which the picture has the lower one above."""
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        for container in contract.get("containers", ()):
            lowest = -1
            for layer in contract["layers"]:
                found = [place_of(shown, container, name) for name in re.findall(r"\w+", layer)]
                places = [place for place in found if place is not None]
                for place in places:
                    if place < lowest:
                        yield shown[lowest], shown[place]
                lowest = max(places, default=lowest)


def place_of(shown: list[str], container: str, name: str) -> int | None:
    """Where a room or a file is in the picture; None where it is not shown."""
    path = f"{container.replace('.', '/')}/{name}"
    return next((place for place, each in enumerate(shown) if each in {path, f"{path}.py"}), None)
