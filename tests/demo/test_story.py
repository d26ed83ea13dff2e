"""The whole demo, as a user starts it: it ends as expected, or early and clean."""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # comes with the embedded Postgres, without types
import pytest

from app.demo import stage as stage_module
from app.demo.children import CannotPlay
from app.demo.model_server import BUILDS

COMMAND = (sys.executable, "-m", "app", "demo", "--headless")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own temporary folder: the database's system user may pass through this one, so all is in it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.demo
@pytest.mark.timeout(600)
async def test_v2_is_promoted_and_each_other_version_turned_back_for_its_own_reason_while_no_answer_fails() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, told = await process.communicate()
    except BaseException:
        process.terminate()
        await process.wait()
        raise
    document = json.loads(out)
    assert document["surprises"] == [], told.decode()
    assert process.returncode == 0
    assert [one["version"] for one in document["promoted"]] == ["v2"]
    assert [(one["version"], one["trigger"]) for one in document["rolled_back"]] == [
        ("v3", "errors"),
        ("v4", "latency"),
        ("v5", "operator"),
        ("v6", "labels"),
        ("v7", "slice:carrier=MQ"),
    ]
    assert document["failed_by_gateway"] == 0
    assert document["tallies"]["equal"] is True
    assert document["answers"] == sum(document["tallies"]["recorded_counts"].values())
    assert document["failed_by_models"] == document["rolled_back"][0]["bad_answers"] > 0
    equal = {version: recall["equal"] for version, recall in document["recall"].items()}
    assert equal == dict.fromkeys(("v3", "v4", "v5", "v6", "v7"), True)
    assert document["recall"]["v6"]["listed"] == document["rolled_back"][3]["canary_requests"] > 0
    assert document["labels"]["joined"] > 0.9 * document["answers"]
    assert document["season"]["rollbacks"] == []
    assert max(document["season"]["error_by_month"]["v2"].values()) > 0.06


@pytest.mark.timeout(180)
async def test_a_signal_ends_the_demo_with_all_its_processes_and_leaves_no_file(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stderr is not None
    said = await _said_ready(process.stderr)
    ports, postgres = _running(folder, said)
    process.send_signal(signal.SIGTERM)
    out, told = await process.communicate()
    assert told.decode().splitlines()[-1] == "The demo was stopped; all its processes have ended."
    assert process.returncode == 130
    assert out == b""
    assert not any(_is_open(port) for port in ports)
    assert not _lives(postgres)
    assert _left(folder) == []


async def test_a_gateway_that_does_not_start_is_one_sentence_and_ends_the_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(stage_module, "BUILDS", {"v1": BUILDS["v1"]})
    failing = "import sys; sys.stderr.write('Port 8320 is taken.'); sys.exit(1)"
    monkeypatch.setattr(stage_module, "GATEWAY", (sys.executable, "-c", failing))
    with pytest.raises(CannotPlay, match=r"^the gateway ended with code 1\. It said last: Port 8320 is taken\.$"):
        async with stage_module.stage():
            pass
    assert _left(folder) == []


async def test_a_set_up_that_is_cut_short_leaves_no_database_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(stage_module, "BUILDS", {})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), stage_module.stage():
            pass
    assert _left(folder) == []
    assert not [
        each for each in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(each.info["cmdline"] or ())
    ]


async def _said_ready(told: asyncio.StreamReader) -> str:
    while line := (await told.readline()).decode().strip():
        if line.startswith("Ready:"):
            return line
    raise AssertionError("the demo ended before it was ready")


def _running(folder: Path, said: str) -> tuple[list[int], int]:
    """The ports of all processes, and the database server's id."""
    servers = [json.loads(next(folder.glob(f"turnback-demo-*/{version}.log")).read_text()) for version in BUILDS]
    (postmaster,) = folder.glob("turnback-demo-*/postgres/postmaster.pid")
    postgres = int(postmaster.read_text().split()[0])
    return [int(said.rstrip(".").rsplit(" ", 1)[-1]), *(server["port"] for server in servers)], postgres


def _left(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("turnback-demo-*")]


def _lives(pid: int) -> bool:
    """A zombie does not: only the first process of the machine could have waited for it."""
    return bool(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
