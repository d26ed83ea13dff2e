"""A gateway that runs out of file descriptors: it stops letting clients in, stays calm, and recovers."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from fakes.upstream_server import upstream
from fakes.waiting import PATIENCE_S, eventually
from proxy.bounds.crowded_gateway import DESCRIPTORS
from proxy.talking import Talk, get, talking

PROJECT = Path(__file__).resolve().parents[3]
CROWD = 300


@asynccontextmanager
async def crowded(upstream_url: str, cap: str) -> AsyncIterator[tuple[Process, int]]:
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"}
    command = (sys.executable, str(PROJECT / "tests" / "proxy" / "bounds" / "crowded_gateway.py"), upstream_url, cap)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def cpu_s(process: Process) -> float:
    """Processor seconds the process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_descriptors(process: Process) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


async def is_served(talk: Talk) -> bool:
    try:
        return (await talk.ask(get())).status == 200
    except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        return False


async def until_served(port: int) -> None:
    """Try as a new client, again and again. Raises: TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with talking(port) as talk:
                if await is_served(talk):
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("cap", ["capped", "uncapped"])
async def test_a_crowd_of_clients_is_kept_out_without_a_busy_loop_and_forgotten_when_it_leaves(cap: str) -> None:
    async with upstream() as server, crowded(server.url, cap) as (process, port):
        async with talking(port) as early:
            assert await is_served(early)
            async with AsyncExitStack() as crowd:
                for _ in range(CROWD):
                    await crowd.enter_async_context(talking(port))
                # Whoever was there before the crowd is still served.
                assert await is_served(early)
                before = cpu_s(process)
                await asyncio.sleep(1.0)
                assert cpu_s(process) - before < 0.5
                descriptors = open_descriptors(process)
                assert descriptors < DESCRIPTORS if cap == "capped" else descriptors <= DESCRIPTORS
            await until_served(port)
            assert await is_served(early)
        assert process.returncode is None
        await eventually(lambda: server.open <= 2)
