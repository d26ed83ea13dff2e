"""What a process leaves on the disk is for its user alone, and what somebody else left there stops it."""

import asyncio
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fakes.other_user import as_user, needs_root
from system.processes import SECRET_KEY, SERVE, Stage, clean_environment

from app.store.pg.embedded import temporary_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = temporary_folder()
    yield folder
    shutil.rmtree(folder)


def open_to_others(folder: Path) -> dict[str, str]:
    """Everything of this user's in it with a right for others: the group may pass through where the server is."""
    there = {path: path.lstat() for path in folder.rglob("*")}
    allowed = stat.S_IRWXU | stat.S_IXGRP
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(found.st_mode))
        for path, found in there.items()
        if not stat.S_ISLNK(found.st_mode)
        and stat.S_IMODE(found.st_mode) & ~(allowed if stat.S_ISDIR(found.st_mode) else stat.S_IRWXU)
    }


async def refused(**settings: str) -> str:
    """What a process says that does not start."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE.format(role="all" if "database_url" not in settings else "proxy")),
        env=clean_environment(admin_port="0", inference_port="0", ops_port="0", **settings),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1, said.decode()
    return said.decode()


async def test_nothing_an_embedded_gateway_writes_can_be_read_by_others(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        async with Stage() as stage:
            gateway = await stage.gateway("all", state_dir=str(folder / "state"), inference_host="")
            assert gateway.addresses["inference"].startswith("127.0.0.1:")
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(f"{gateway.url('inference')}/m/unknown/x")).status_code == 404
            running = open_to_others(folder)
            names = {path.name for path in (folder / "state").iterdir()}
    finally:
        os.umask(before)
    assert running == {}
    assert open_to_others(folder) == {}
    assert {"postgres", "postgres.lock", "receipt.key", "journal"} <= names


@needs_root
@pytest.mark.parametrize("database_url", [{}, {"database_url": "postgresql://u@127.0.0.1:9/x"}])
async def test_a_state_folder_that_a_stranger_prepared_stops_the_start(database_url: dict[str, str]) -> None:
    state = Path(tempfile.gettempdir()) / f"turnback-{os.getpid()}-prepared"
    keys = {"secret_key": SECRET_KEY} if database_url else {}
    assert as_user("nobody", lambda: state.mkdir(mode=0o777)) == "None"
    try:
        said = await refused(state_dir=str(state), **database_url, **keys)
        assert list(state.iterdir()) == []
    finally:
        state.rmdir()
    assert said.startswith("TURNBACK_STATE_DIR is not acceptable")
    assert "belongs to nobody" in said


async def test_a_state_folder_that_others_may_write_to_stops_the_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    assert f"chmod go-w {state}" in await refused(state_dir=str(state))
    assert stat.S_IMODE(state.stat().st_mode) == 0o777
