"""The command against a real admin listener: real sockets, a real database, no engine."""

import asyncio
import threading
from collections.abc import Iterator
from secrets import token_bytes

import httpx
import pytest
from cli.command import Command
from fakes.probe import ProbeBook
from structlog.testing import capture_logs

from app.actions.context import Means
from app.admin.api import admin_app
from app.admin.dependencies import Services
from app.domain.catalog.models import Timeouts
from app.proxy.bounds.admission import own
from app.proxy.downstream.addressed import Addressees
from app.proxy.downstream.own_port import OwnPort
from app.store.pg.database import Database
from app.telemetry import DecisionCount
from app.upstream_allow import LOOPBACK, AllowList
from app.web.listeners import bind, listener


@pytest.fixture
def admin_url(database_url: str) -> Iterator[str]:
    """A listening admin API on a database of the test's own, in a thread with its own loop."""
    bound = bind("admin", "127.0.0.1", 0)
    host, port = bound.getsockname()
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        database = Database(database_url)
        means = Means(database, ProbeBook(), AllowList(LOOPBACK).check, token_bytes)
        services = Services(means, Timeouts(), 60, DecisionCount())
        app = admin_app(services, version="test", body_max_bytes=65_536)
        serving = listener("admin", bound, app, drain_s=1, http=OwnPort(own(256, 65_536), Addressees()).protocol)
        task = asyncio.create_task(serving.serve())
        while not serving.server.started:  # noqa: ASYNC110 -- uvicorn tells nobody when it listens
            await asyncio.sleep(0.01)
        ready.set()
        await asyncio.to_thread(stop.wait)
        await serving.drain(task)
        await database.close()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    # The server's events are not the command's output, though here they share a process.
    with capture_logs():
        thread.start()
        assert ready.wait(timeout=20)
        yield f"http://{host}:{port}"
        stop.set()
        thread.join(timeout=20)


@pytest.fixture
def command(admin_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Verbs against the admin API, one model registered: fraud with v1 (stable) and v2."""
    monkeypatch.setenv("TURNBACK_ADMIN_URL", admin_url)
    with httpx.Client(base_url=admin_url) as api:
        api.post("/v1/models", json={"name": "fraud"}).raise_for_status()
        for port, version in ((9001, "v1"), (9002, "v2")):
            url = f"http://127.0.0.1:{port}"
            api.put(f"/v1/models/fraud/versions/{version}", json={"urls": [url]}).raise_for_status()
    return Command(capsys, admin_url)
