"""Ten ways for Postgres to fail, in each loop of a real process: the short form of bench.loop_faults."""

import pytest

from bench.loop_faults import LOOPS, WAYS, Cell, end, play
from bench.loop_world import world

HELD_S = 0.3
QUICK = {"flush_interval_s": "0.2", "tick_interval_s": "0.2", "poll_interval_s": "0.2"}
# A process that is told to end under the fault costs a start of its own.
TERMINATED = {("hung", "push"), ("black hole", "pull"), ("cancelled in clean-up", "tick")}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("loop", LOOPS)
async def test_whatever_postgres_does_every_loop_lives_and_the_process_follows_and_ends(loop: str) -> None:
    cells = [Cell(way, loop) for way in WAYS]
    async with world() as scene, scene.gateway(**QUICK) as survivor:
        for cell in cells:
            await play(scene, cell, survivor, HELD_S)
            if (cell.way, loop) in TERMINATED:
                await end(scene, cell)
        said = survivor.events()
    assert [cell for cell in cells if cell.dead] == []
    assert [cell for cell in cells if None in (*cell.followed_s, *cell.pushed_s, *cell.ticked_s, *cell.ended_s)] == []
    assert len(cells) == 10
    assert sum(len(cell.ended_s) for cell in cells) == 1
    # The two cancellations are told of; nothing else ended, failed or fell silent.
    assert said.count("loop.silent") == 2
    assert {"loop.failed", "loop.ended", "loop.not_ended", "loop.look_failed"} & set(said) == set()
