"""Ten ways for Postgres to fail, in the middle of a pull, a push and a tick: what becomes of the process.

Method: real gateway processes in role all behind a wire of their own, and a real Postgres. The fault begins in the
middle of the named loop's statement (or in its clean-up); a rollback is committed while it lasts; it is taken away
after a moment drawn anew. From that instant on it is measured how long the process takes to follow the rollback, to
commit its next push and to end its next tick, and afterwards how long ago each loop was heard of. Other processes,
three at once, meet the same faults and get SIGTERM while they last. Times are of this machine, with whatever else it
did.
Run `python -m bench.loop_faults [--rounds 10] [--report docs/bench]`.
"""

import argparse
import asyncio
import json
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from app.main import ENDING_MAX_S
from bench.cpu import model_name
from bench.fault_wire import Wire
from bench.loop_world import (
    CANCELS,
    DRAIN_S,
    FRAUD,
    LOOK_EVERY_S,
    PATIENCE_S,
    SPLIT,
    STABLE_ONLY,
    Gateway,
    World,
    world,
)

LOOPS = ("pull", "push", "tick")
GENERATION = f'turnback_generation{{model="{FRAUD}"}}'
TICKED = "turnback_last_evaluation_timestamp_seconds"
FOLLOWED_WITHIN_S = 1.0
ENDED_WITHIN_S = DRAIN_S + ENDING_MAX_S
HELD_S = (0.3, 2.5)
# A fault that nobody ran into is no fault.
HIT_WITHIN_S = 15.0
# What a loop that lives was last heard of by, afterwards: its own rhythm and a second; those that nothing waited for
# until they worked again may still be in a step of 4 s that began under the fault.
HEARD_WITHIN_S = {
    "pull": 1.6,
    "withhold": 1.6,
    "push": 2.1,
    "tick": 2.1,
    "journal": 1.2,
    "feedback": 6.1,
    "save": 6.1,
    "listen": 11.1,
    "recover": 35.1,
}
# What only that loop says to Postgres.
SAYS = {"pull": b"FROM routing", "push": b"INSERT INTO replicas", "tick": b"FROM rollouts"}

WIRES = {"refused": Wire.REFUSES, "reset": Wire.RESETS, "hung": Wire.HANGS, "black hole": Wire.SWALLOWS}
_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turnback'"
_READ_ONLY = (
    ("ALTER DATABASE bench SET default_transaction_read_only = on", _OFF),
    ("ALTER DATABASE bench RESET default_transaction_read_only", _OFF),
)
_BAD_ROLLOUT = (
    "INSERT INTO rollouts"
    " (id, model, stable, canary, phase, weight_bp, generation, started_generation, started_at, state)"
    " VALUES (gen_random_uuid(), 'other', 'v1', 'v2', 'ramping', 100, 1, 1, now(), '{\"phase\": \"of tomorrow\"}')"
)
_REVOKED = {
    "pull": ("REVOKE SELECT ON routes FROM turnback_owner", "GRANT SELECT ON routes TO turnback_owner"),
    "push": ("REVOKE INSERT ON tallies FROM turnback_owner", "GRANT INSERT ON tallies TO turnback_owner"),
    "tick": ("REVOKE SELECT ON rollouts FROM turnback_owner", "GRANT SELECT ON rollouts TO turnback_owner"),
}
# The same of a statement that the loop makes each time, whether anything has changed or not.
_REFUSED = {
    **_REVOKED,
    "pull": ("REVOKE SELECT ON routing FROM turnback_owner", "GRANT SELECT ON routing TO turnback_owner"),
}
# How to break and how to mend, by way and loop.
SQL: dict[str, dict[str, tuple[Sequence[str], Sequence[str]]]] = {
    "read-only": dict.fromkeys(LOOPS, _READ_ONLY),
    "revoked": {loop: ((broken,), (mended,)) for loop, (broken, mended) in _REVOKED.items()},
    "bad row": {
        "pull": (
            ("UPDATE models SET protocol = 'of tomorrow' WHERE name = 'other'",),
            ("UPDATE models SET protocol = 'auto' WHERE name = 'other'",),
        ),
        "push": (
            ("ALTER TABLE tallies ADD CONSTRAINT refuses_all CHECK (second < 0) NOT VALID",),
            ("ALTER TABLE tallies DROP CONSTRAINT refuses_all",),
        ),
        "tick": ((_BAD_ROLLOUT,), ("DELETE FROM rollouts WHERE model = 'other'",)),
    },
    "missing column": {
        "pull": (
            ("ALTER TABLE routes RENAME latency_horizon_ms TO of_tomorrow",),
            ("ALTER TABLE routes RENAME of_tomorrow TO latency_horizon_ms",),
        ),
        "push": (
            ("ALTER TABLE tallies RENAME client_error TO of_tomorrow",),
            ("ALTER TABLE tallies RENAME of_tomorrow TO client_error",),
        ),
        "tick": (
            ("ALTER TABLE rollouts RENAME started_generation TO of_tomorrow",),
            ("ALTER TABLE rollouts RENAME of_tomorrow TO started_generation",),
        ),
    },
}
IN_STATEMENT, IN_CLEAN_UP = "cancelled in mid-statement", "cancelled in clean-up"
WAYS = (*WIRES, *SQL, IN_STATEMENT, IN_CLEAN_UP)


@dataclass
class Cell:
    """One way to fail in one loop, over all rounds; seconds, None where it never came.

    Attributes:
        followed_s, pushed_s, ticked_s: From the database's return.
        ended_s: From SIGTERM under the fault to the end of the process.
        dead: Loops that were not heard of afterwards, of all rounds.
        told: Events of loss and return the process wrote, of all rounds.
    """

    way: str
    loop: str
    followed_s: list[float | None] = field(default_factory=list)
    pushed_s: list[float | None] = field(default_factory=list)
    ticked_s: list[float | None] = field(default_factory=list)
    ended_s: list[float | None] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    told: int = 0

    @property
    def holds(self) -> bool:
        """Whether all that was promised came true in every round."""
        followed = all(each is not None and each <= FOLLOWED_WITHIN_S for each in self.followed_s)
        came = None not in self.pushed_s and None not in self.ticked_s
        ended = all(each is not None and each <= ENDED_WITHIN_S for each in self.ended_s)
        return followed and came and ended and not self.dead


class Fault:
    """One way to fail, in one loop of a process."""

    def __init__(self, scene: World, way: str, loop: str, gateway: Gateway) -> None:
        self._scene, self._way, self._loop = scene, way, loop
        self._gateway = gateway

    async def begin(self) -> None:
        """Returns when the process has met it."""
        if self._way in WIRES:
            await self._break_wire(SAYS[self._loop], WIRES[self._way])
        elif self._way == IN_STATEMENT:
            await self._break_wire(SAYS[self._loop], Wire.HANGS)
            self._gateway.signal(CANCELS[self._loop])
        elif self._way == IN_CLEAN_UP:
            # The statement is refused, so that a ROLLBACK follows, and that hangs.
            await self._scene.sql(_REFUSED[self._loop][0])
            await self._break_wire(b"ROLLBACK", Wire.HANGS)
            self._gateway.signal(CANCELS[self._loop])
        else:
            await self._scene.sql(*SQL[self._way][self._loop][0])

    async def end(self) -> None:
        if self._way == IN_CLEAN_UP:
            await self._scene.sql(_REFUSED[self._loop][1])
        elif self._way in SQL:
            await self._scene.sql(*SQL[self._way][self._loop][1])
        await self._gateway.wire.passes()

    async def _break_wire(self, marker: bytes, mode: Wire) -> None:
        async with asyncio.timeout(HIT_WITHIN_S):
            await self._gateway.wire.breaks_at(marker, mode).wait()


async def play(scene: World, cell: Cell, survivor: Gateway, held_s: float) -> None:
    """One round of a cell for a process that lives on. Args: held_s: How long the fault lasts."""
    split = await scene.route(SPLIT)
    await _until_at(survivor, split)
    events_before = len(survivor.events())
    fault = Fault(scene, cell.way, cell.loop, survivor)
    await fault.begin()
    rolled_back = await scene.route(STABLE_ONLY)
    await asyncio.sleep(held_s)
    await fault.end()
    followed, pushed, ticked = await _recovered(scene, survivor, rolled_back)
    cell.followed_s.append(followed)
    cell.pushed_s.append(pushed)
    cell.ticked_s.append(ticked)
    cell.dead += await _dead(survivor)
    cell.told += sum("database" in event for event in survivor.events()[events_before:])


async def end(scene: World, cell: Cell) -> None:
    """One round of a cell for a process that gets SIGTERM while the fault lasts."""
    async with scene.gateway() as victim:
        fault = Fault(scene, cell.way, cell.loop, victim)
        await fault.begin()
        victim.signal(signal.SIGTERM)
        cell.ended_s.append(await victim.ended(ENDED_WITHIN_S + 5.0))
        await fault.end()


async def _recovered(
    scene: World, survivor: Gateway, generation: int
) -> tuple[float | None, float | None, float | None]:
    """Seconds until it follows, has pushed, has ticked; all from now on."""
    began, wall = time.monotonic(), time.time()
    followed = pushed = ticked = None
    while None in (followed, pushed, ticked) and time.monotonic() - began < PATIENCE_S:
        seen = await survivor.metrics()
        # The server is on this machine, and so is its clock.
        newest = await scene.pushed_at() if pushed is None else 0.0
        passed = time.monotonic() - began
        if followed is None and seen.get(GENERATION) == generation:
            followed = passed
        if pushed is None and newest > wall:
            pushed = passed
        if ticked is None and seen.get(TICKED, 0.0) > wall:
            ticked = passed
        await asyncio.sleep(LOOK_EVERY_S)
    return followed, pushed, ticked


async def _until_at(gateway: Gateway, generation: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.metrics()).get(GENERATION) != generation:  # noqa: ASYNC110 -- it is another process
            await asyncio.sleep(LOOK_EVERY_S)


async def _dead(gateway: Gateway) -> list[str]:
    """Loops that are not heard of within their rhythm, looked at for a while: one look may meet a busy moment."""
    ages: dict[str, float] = {}
    for _ in range(20):
        ages = await gateway.loop_ages()
        if ages.keys() >= HEARD_WITHIN_S.keys() and all(ages[name] <= most for name, most in HEARD_WITHIN_S.items()):
            return []
        await asyncio.sleep(0.1)
    return [name for name, most in HEARD_WITHIN_S.items() if ages.get(name, most + 1) > most]


async def run(rounds: int, seed: int, tell: Callable[[str], None]) -> list[Cell]:
    """Play every cell so many times, against one process that lives through all of it; then end others under each."""
    random = Random(seed)
    cells = [Cell(way, loop) for way in WAYS for loop in LOOPS]
    async with world() as scene, scene.gateway() as survivor:
        for cell in cells:
            for _ in range(rounds):
                await play(scene, cell, survivor, random.uniform(*HELD_S))
            tell(" | ".join(row(cell)))

    async def end_all(loop: str) -> None:
        async with world() as scene:
            for cell in cells:
                for _ in range(rounds if cell.loop == loop else 0):
                    await end(scene, cell)
            tell(f"SIGTERM in {loop}: done")

    async with asyncio.TaskGroup() as side_by_side:
        for loop in LOOPS:
            side_by_side.create_task(end_all(loop))
    return cells


HEADINGS = ("way to fail", "loop", "follows, s", "pushes, s", "ticks, s", "SIGTERM, s", "dead loops", "events", "holds")


def row(cell: Cell) -> tuple[str, ...]:
    """The cell's line of the table: median and maximum of the rounds."""
    times = (cell.followed_s, cell.pushed_s, cell.ticked_s, cell.ended_s)
    dead = ", ".join(sorted(set(cell.dead))) or "none"
    return (cell.way, cell.loop, *map(_spread, times), dead, str(cell.told), "yes" if cell.holds else "**no**")


def _spread(seconds: Sequence[float | None]) -> str:
    known = sorted(each for each in seconds if each is not None)
    if not seconds:
        return "not run"
    lost = len(seconds) - len(known)
    text = f"{known[len(known) // 2]:.2f} / {known[-1]:.2f}" if known else ""
    return f"{text} **{lost} never**".strip() if lost else text


def table(cells: Sequence[Cell]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(row, cells)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(cells: Sequence[Cell], rounds: int, seed: int) -> str:
    """The report."""
    followed = [each for cell in cells for each in cell.followed_s]
    ended = [each for cell in cells for each in cell.ended_s]
    late = sum(each is None or each > FOLLOWED_WITHIN_S for each in followed)
    dead = sum(bool(cell.dead) for cell in cells)
    return f"""# Ten ways for Postgres to fail, in each loop

Written by `python3 -m bench.loop_faults --rounds {rounds} --seed {seed} --report docs/bench`
({model_name()}, Python {platform.python_version()}).
The method stands at the head of `bench/loop_faults.py`. Times are median / maximum of {rounds} rounds, from the
database's return, or from SIGTERM, sent while the fault lasted, on a machine that others used too. All rounds but those
with SIGTERM hit one and the same process. `events` are its log lines about a lost or returned database, of all rounds.

- {len(followed)} rounds; {late} followed later than {FOLLOWED_WITHIN_S:g} s; the slowest took {_slowest(followed)}.
- SIGTERM's deadline is {ENDED_WITHIN_S:g} s (`TURNBACK_DRAIN_S`={DRAIN_S:g}); the slowest end took {_slowest(ended)}.
- {dead} of {len(cells)} cells had a loop that was not heard of afterwards.

{table(cells)}
"""


def _slowest(seconds: Sequence[float | None]) -> str:
    known = [each for each in seconds if each is not None]
    return "never" if None in seconds else f"{max(known, default=0.0):.2f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="folder for loop-faults.md and .json")
    given = parser.parse_args()
    cells = asyncio.run(run(given.rounds, given.seed, partial(print, flush=True)))
    print(table(cells))
    if given.report is not None:
        (given.report / "loop-faults.md").write_text(page(cells, given.rounds, given.seed), encoding="utf-8")
        document = [asdict(cell) for cell in cells]
        (given.report / "loop-faults.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if all(cell.holds for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
