"""The story: six versions meet real traffic; the gateway decides, and every figure is measured.

Rule: a chapter says what should happen and never makes it happen; only the operator of the last one acts (ADR 0041).
"""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import Any, Protocol

import httpx
import numpy as np

from app.demo.admin_api import AdminApi, NotNow
from app.demo.children import CannotPlay
from app.demo.fault import Outage
from app.demo.flights import MODEL, Flight, request
from app.demo.landings import Landings, Quality
from app.demo.replay import NO_VERSION, Answer, Counts, Replay, Request
from app.demo.stage import Stage

PER_SECOND = 1_000.0
BEFORE_S = 2.0
LOOK_S = 0.25
SERVED_WITHIN_S = 15.0
CHAPTER_MAX_S = 100.0
SETTLE_S = 1.0
OPERATOR_AFTER = 10
# These servers are warm when they say they are ready, and the story has two minutes: a step may cost 20 bad answers,
# not 5. Everything else is the gateway's default, its guardrails chosen by what is declared of the model.
POLICY = {"warmup_s": 2.0, "max_extra_bad": 20.0}
ENDS = {"promoted": "promote", "rolled_back": "roll_back"}


@dataclass(frozen=True, slots=True)
class Chapter:
    """One rollout.

    Attributes:
        trigger: The trigger that must have decided it, or its beginning.
        coverage_s: Least seconds before a promotion: a fault in a slice alone shows later than one of the whole.
        operated: A person rolls it back, once it has answered some requests.
    """

    version: str
    what: str
    phase: str
    trigger: str
    operated: bool = False
    coverage_s: float = 0.0


CHAPTERS = (
    Chapter("v2", "looks at carrier, airport, weekday, weather, age and minutes of delay", "promoted", "policy"),
    Chapter("v3", "fails where the plane's build year is missing", "rolled_back", "errors"),
    Chapter("v4", "answers right, but slowly", "rolled_back", "latency"),
    Chapter("v5", "is fine, but its owner changes his mind", "rolled_back", "operator", operated=True),
    Chapter("v6", "takes minutes of delay for hours: it answers in time, and wrong", "rolled_back", "labels"),
    Chapter("v7", "has lost one carrier's delays and is wrong there alone", "rolled_back", "slice", coverage_s=90.0),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended.

    Attributes:
        canary_requests: Requests the version answered before the decision took effect.
        bad_answers: Of those, the slow ones if latency decided, the wrong ones if labels did, else the failed ones.
        seconds: From the start of the rollout to the decision.
        decision: Its id.
    """

    version: str
    phase: str
    trigger: str
    canary_requests: int
    bad_answers: int
    seconds: float
    decision: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything to see at one instant; `model`, `route` and `rollout` are the admin API's documents."""

    flight: Flight
    counts: Counts
    seconds: float
    model: Any
    route: Any
    rollout: Any


class Audience(Protocol):
    """Someone who follows the story while it plays."""

    def hear(self, sentence: str) -> None: ...

    def see(self, scene: Scene) -> None: ...


class Player:
    """Plays the chapters on a stage, one after the other, under steady traffic."""

    def __init__(
        self, stage: Stage, api: AdminApi, flights: Sequence[Flight], landings: Landings, audience: Audience
    ) -> None:
        self._stage = stage
        self._api = api
        self._flights = flights
        self._landings = landings
        self._audience = audience
        self.replay = Replay("127.0.0.1", stage.inference_port, self._requests(), PER_SECOND, landings.hear)

    def _requests(self) -> Iterator[Request]:
        """April to June, and again from April should the story last longer."""
        host = f"127.0.0.1:{self._stage.inference_port}"
        while True:
            yield from (Request(request(flight, host), at) for at, flight in enumerate(self._flights))

    async def play(self, outage: Outage | None) -> list[Ended]:
        """All chapters; stops at the first that did not end as it should."""
        await self._until_served()
        self.replay.start()
        await asyncio.sleep(BEFORE_S)
        ended: list[Ended] = []
        for chapter in CHAPTERS:
            self._audience.hear(f"{chapter.version} {chapter.what}.")
            ended.append(await self._chapter(chapter, outage if chapter is CHAPTERS[0] else None))
            self._audience.hear(ended[-1].sentence)
            if ended[-1].phase != chapter.phase:
                break
        return ended

    async def _until_served(self) -> None:
        """Wait until the data plane has the route; the requests that find out count as traffic too."""
        url = f"http://127.0.0.1:{self._stage.inference_port}/v2/models/{MODEL}/ready"
        async with httpx.AsyncClient() as client:
            for _ in range(round(SERVED_WITHIN_S / LOOK_S)):
                try:
                    answer = await client.get(url)
                except httpx.TransportError as failed:
                    raise CannotPlay(f"the inference listener does not answer: {failed!r}") from failed
                if "x-turnback-version" in answer.headers:
                    break
                await asyncio.sleep(LOOK_S)
            else:
                raise CannotPlay(f"the data plane serves no model after {SERVED_WITHIN_S:.0f} s: {answer.text}")
        server = answer.headers.get("x-model-version", NO_VERSION)
        version = answer.headers["x-turnback-version"]
        seconds = answer.elapsed.total_seconds()
        self.replay.counts.sent += 1
        self.replay.counts.add(Answer(answer.status_code, version, server, None, seconds), time())

    async def _chapter(self, chapter: Chapter, outage: Outage | None) -> Ended:
        wanted = {
            "canary": chapter.version,
            "policy": {**POLICY, "coverage_s": chapter.coverage_s},
            "reason": f"{chapter.version} {chapter.what}",
        }
        rollout = await self._api.post(f"models/{MODEL}/rollouts", wanted)
        async with nullcontext() if outage is None else outage.under_way(self.replay, chapter.version):
            with suppress(TimeoutError):
                async with asyncio.timeout(CHAPTER_MAX_S):
                    await self._until_it_ends(chapter, rollout["id"])
        if chapter.phase == "rolled_back":
            await asyncio.sleep(SETTLE_S)
        return await self._ended(chapter, rollout["id"])

    async def _until_it_ends(self, chapter: Chapter, rollout_id: str) -> None:
        while True:
            with suppress(NotNow):
                rollout = await self._look(rollout_id)
                if rollout["phase"] in {*ENDS, "aborted", "invalid", "expired"}:
                    return
                if chapter.operated and self.replay.counts.served[chapter.version] >= OPERATOR_AFTER:
                    await self._api.post(f"rollouts/{rollout_id}:rollback", {"reason": "the owner changed his mind"})
            await asyncio.sleep(LOOK_S)

    async def _look(self, rollout_id: str) -> Any:  # noqa: ANN401 -- a document, as the schema says
        self._stage.check()
        self._landings.check()
        rollout = await self._api.get(f"rollouts/{rollout_id}")
        model = await self._api.get(f"models/{MODEL}")
        route = await self._api.get(f"models/{MODEL}/route")
        counts = self.replay.counts
        flight = self._flights[counts.sent % len(self._flights)]
        self._audience.see(Scene(flight, counts, self.replay.seconds, model, route, rollout))
        return rollout

    async def _ended(self, chapter: Chapter, rollout_id: str) -> Ended:
        rollout = await self._api.get_patiently(f"rollouts/{rollout_id}")
        decisions = (await self._api.get_patiently("decisions", model=MODEL, limit="50"))["items"]
        action = ENDS.get(rollout["phase"])
        own = [decision for decision in decisions if decision["rollout_id"] == rollout_id]
        decision = next((one for one in own if one["action"] == action), own[0])
        at = datetime.fromisoformat(decision["at"]).timestamp()
        # What a promoted version answers later, it answers as stable.
        until = at if rollout["phase"] == "promoted" else None
        return Ended(
            version=chapter.version,
            phase=rollout["phase"],
            trigger=decision["trigger"],
            canary_requests=_answered(self.replay.counts, chapter.version, until),
            bad_answers=_bad(self.replay.counts, self._landings.quality, rollout, decision["trigger"]),
            seconds=round(at - datetime.fromisoformat(rollout["started_at"]).timestamp(), 2),
            decision=decision["id"],
            sentence=decision["sentence"],
        )


def _answered(counts: Counts, version: str, until: float | None) -> int:
    times = counts.at.get(version, ())
    return len(times) if until is None else bisect_right(times, until)


def _bad(counts: Counts, quality: Quality, rollout: Any, trigger: str) -> int:  # noqa: ANN401 -- a document
    canary, policy = rollout["canary"], rollout["policy"]
    if trigger == "labels" or trigger.startswith("slice"):
        return quality.wrong_of(canary)
    stable_seconds = counts.seconds.get(rollout["stable"])
    if trigger != "latency" or not stable_seconds:
        return counts.bad[canary]
    # The guardrail's own rule, applied to what the client measured.
    latency = next(each for each in policy["guardrails"] if each["metric"] == "latency" and not each["dry_run"])
    usual = float(np.quantile(stable_seconds, latency["quantile"]))
    limit = usual * (1 + latency["margin"]) + latency["floor"] / 1_000
    return sum(seconds > limit for seconds in counts.seconds.get(canary, ()))
