"""The gateway's records beside what the client saw: tallies, recalls, decisions.

Rule: the records follow the traffic by a second or two, so they are read until they agree or patience is over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from app.demo.admin_api import AdminApi, NotNow
from app.demo.flights import MODEL
from app.demo.replay import Counts

T = TypeVar("T")

RECORDED_WITHIN_S = 20.0
LOOK_S = 0.5
DECISIONS_MAX = 200


@dataclass(frozen=True, slots=True)
class Tallies:
    """Answers by version: as the client counted them, and as Postgres has them.

    Attributes:
        excluded: Of the recorded ones, those without a coin: stable answered for a canary it could not reach.
    """

    client_counts: Mapping[str, int]
    recorded_counts: Mapping[str, int]
    excluded: int

    @property
    def equal(self) -> bool:
        return self.client_counts == self.recorded_counts


@dataclass(frozen=True, slots=True)
class Recall:
    """The answers of a version before it was rolled back.

    Attributes:
        listed: Answers that the gateway's recall lists.
        client_saw: Answers that the client got from it.
        equal: Whether both are the same exchanges, one by one.
    """

    version: str
    listed: int
    client_saw: int
    equal: bool


async def tallies(api: AdminApi, counts: Counts, began: datetime) -> Tallies:
    """Both counts of everything since the story began."""

    async def read() -> Tallies:
        # Wider than the traffic on both sides: the range is cut to whole seconds of the database's clock.
        since, until = began - timedelta(minutes=1), datetime.now(UTC) + timedelta(minutes=1)
        metrics = await api.get(f"models/{MODEL}/metrics", **{"from": since.isoformat(), "to": until.isoformat()})
        recorded = {slot["version"]: _answers(slot) for slot in metrics["items"]}
        excluded = sum(slot["excluded"] for slot in metrics["items"])
        served = dict(sorted(counts.served.items()))
        return Tallies(served, {version: count for version, count in sorted(recorded.items()) if count}, excluded)

    return await _settled(read, lambda read: read.equal, Tallies(dict(counts.served), {}, 0))


async def recalls(api: AdminApi, counts: Counts, versions: Sequence[str]) -> tuple[Recall, ...]:
    """The recall of each version that was rolled back; empty where it is missing."""

    async def read() -> tuple[Recall, ...]:
        items = (await api.get("recalls", model=MODEL))["items"]
        by_version = {item["version"]: item["id"] for item in items}
        return tuple([await _recall(api, counts, version, by_version.get(version)) for version in versions])

    return await _settled(read, lambda read: all(one.equal for one in read), ())


async def decisions(api: AdminApi) -> Sequence[Mapping[str, Any]]:
    """Every decision about the model, the newest first."""
    items: Sequence[Mapping[str, Any]] = (await api.get_patiently("decisions", model=MODEL, limit=str(DECISIONS_MAX)))[
        "items"
    ]
    return items


async def _settled(read: Callable[[], Awaitable[T]], agrees: Callable[[T], bool], at_worst: T) -> T:
    """Read until both agree or patience is over; the last that was read."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + RECORDED_WITHIN_S
    last = at_worst
    while loop.time() < give_up:
        with suppress(NotNow):
            last = await read()
            if agrees(last):
                break
        await asyncio.sleep(LOOK_S)
    return last


async def _recall(api: AdminApi, counts: Counts, version: str, recall_id: str | None) -> Recall:
    listed = [] if recall_id is None else await api.lines(f"recalls/{recall_id}/answers")
    seen = counts.ids.get(version, [])
    equal = sorted(answer["request_id"] for answer in listed) == sorted(seen)
    return Recall(version, len(listed), len(seen), equal)


def _answers(slot: Mapping[str, Any]) -> int:
    """The answers of a version, with a coin and without; a request that could not reach it has none."""
    return int(slot["exchanges"] + slot["excluded"] - slot["outcomes"].get("connect_error", 0))
