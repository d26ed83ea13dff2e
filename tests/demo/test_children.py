"""Processes of the demo start with a ready line, and none survives."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.demo import children
from app.demo.children import CannotPlay
from app.demo.stage import ONE_THREAD

SAYS_READY = "print('noise'); print('{\"ready\": true, \"port\": 7}', flush=True); import time; time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SAYS_READY


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_is_ready_when_it_says_so_and_gone_when_it_is_ended(tmp_path: Path) -> None:
    child = await children.start("the sleeper", python(SAYS_READY), tmp_path / "log")
    assert child.ready == {"ready": True, "port": 7}
    child.check()
    await children.end(child.process)
    assert not is_alive(child.process.pid)


async def test_a_child_that_will_not_hear_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "ENDED_WITHIN_S", 0.2)
    child = await children.start("the deaf", python(DEAF), tmp_path / "log")
    await children.end(child.process)
    assert not is_alive(child.process.pid)


async def test_a_child_that_ends_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CannotPlay, match=r"^the failure ended with code 3\. It said last: the port is taken$"):
        await children.start(
            "the failure", python("import sys; sys.stderr.write('the port is taken\\n'); sys.exit(3)"), tmp_path / "log"
        )


async def test_a_child_that_stays_silent_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "READY_WITHIN_S", 0.9)
    silent = "import os, sys, time; sys.stderr.write(str(os.getpid())); sys.stderr.flush(); time.sleep(60)"
    with pytest.raises(CannotPlay, match="the mute was not ready within 1 s"):
        await children.start("the mute", python(silent), tmp_path / "log")
    assert not is_alive(int((tmp_path / "log").read_text()))


async def test_a_child_that_dies_later_is_noticed(tmp_path: Path) -> None:
    child = await children.start("the mortal", python(SAYS_READY), tmp_path / "log")
    child.process.kill()
    await child.process.wait()
    with pytest.raises(CannotPlay, match="the mortal ended with code -9"):
        child.check()


async def test_a_child_gets_the_given_settings_and_none_of_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNBACK_ADMIN_PORT", "1")
    says = (
        "import json, os, time; given = {k: v for k, v in os.environ.items() if 'TURNBACK' in k};"
        " print(json.dumps({**given, 'ready': True}), flush=True); time.sleep(60)"
    )
    child = await children.start("the reader", python(says), tmp_path / "log", {"TURNBACK_OPS_PORT": "0"})
    await children.end(child.process)
    assert child.ready == {"TURNBACK_OPS_PORT": "0", "ready": True}


async def test_model_servers_measure_v2_better_than_v1_and_v5_another_model_like_v2(tmp_path: Path) -> None:
    async def measured(version: str) -> Mapping[str, float]:
        command = [sys.executable, "-m", "app.demo.model_server", "--version", version]
        child = await children.start(version, command, tmp_path / version, ONE_THREAD)
        await children.end(child.process)
        assert child.ready["version"] == version
        assert child.ready["port"] > 0
        found: Mapping[str, float] = child.ready["quality"]
        return found

    v1, v2, v5 = await asyncio.gather(*map(measured, ("v1", "v2", "v5")))
    assert v2["log_loss"] < v1["log_loss"] - 0.01
    assert v2["accuracy"] > v1["accuracy"]
    assert v5["log_loss"] != v2["log_loss"]
    assert v5["log_loss"] == pytest.approx(v2["log_loss"], abs=0.005)
