"""Plays the story from an empty folder to its report, and leaves nothing behind."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import uvloop

from app.demo.admin_api import AdminApi, NotNow
from app.demo.audience import Lines, Screen, audience
from app.demo.children import CannotPlay
from app.demo.fault import Fault, Outage
from app.demo.flights import MODEL, replay_months
from app.demo.model_server import BUILDS
from app.demo.replay import Counts
from app.demo.report import Report, Tallies
from app.demo.stage import Stage, stage
from app.demo.story import Player

DONE, FAILED, INTERRUPTED = 0, 1, 130
RECORDED_WITHIN_S = 20.0
LOOK_S = 0.5


def run(*, headless: bool, fault: str | None = None) -> int:
    """Play the story; the exit code is 0 only if it ended as expected.

    Args:
        headless: One JSON document on stdout, everything else on stderr.
        fault: What to break meanwhile, a `Fault`, or None.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_play(headless, None if fault is None else Fault(fault)))
    except CannotPlay as problem:
        if headless:
            _write({"ended_as_expected": False, "surprises": [str(problem)]})
        sys.stderr.write(f"The demo cannot go on: {problem}\n")
        return FAILED
    except asyncio.CancelledError:
        sys.stderr.write("The demo was stopped; all its processes have ended.\n")
        return INTERRUPTED


async def _play(headless: bool, fault: Fault | None) -> int:
    _end_on_signals()
    with audience(headless=headless) as followers:
        report = await _report(followers, fault)
    surprises = report.surprises()
    if headless:
        _write(report.document())
    else:
        _close(report)
    for surprise in surprises:
        sys.stderr.write(f"Not as expected: {surprise}.\n")
    return FAILED if surprises else DONE


def _end_on_signals() -> None:
    """Ctrl-C, SIGTERM and a closed terminal end the demo with its processes; a second one changes nothing."""
    task = asyncio.current_task()

    def asked_to_stop() -> None:
        if task is not None and not task.cancelling():
            task.cancel()

    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sign, asked_to_stop)


async def _report(followers: Lines | Screen, fault: Fault | None) -> Report:
    followers.hear("Starting Postgres, the gateway and five model servers.")
    async with AsyncExitStack() as ends:
        set_up = await ends.enter_async_context(stage())
        client = await ends.enter_async_context(httpx.AsyncClient(base_url=set_up.admin_url, timeout=15.0))
        api = AdminApi(client)
        began = datetime.now(UTC)
        await _register(set_up, api)
        outage = Outage(set_up.postgres) if fault is Fault.POSTGRES else None
        player = Player(set_up, api, replay_months().flights, followers)
        ends.callback(player.replay.abandon)
        followers.hear(f"Ready: admin API at {set_up.admin_url}, inference on port {set_up.inference_port}.")
        ended = await player.play(outage)
        await player.replay.stop()
        tallies = await _tallies(api, player.replay.counts, began)
        models = {version: server.ready["quality"] for version, server in set_up.servers.items()}
        return Report(ended, player.replay.counts, tallies, player.replay.seconds, models, outage)


async def _register(set_up: Stage, api: AdminApi) -> None:
    """The model and its versions, of which the first becomes stable."""
    await api.post("models", {"name": MODEL})
    for version in BUILDS:
        place = {"urls": [set_up.server_url(version)], "health_path": f"/v2/models/{MODEL}/ready"}
        await api.put(f"models/{MODEL}/versions/{version}", place)


async def _tallies(api: AdminApi, counts: Counts, began: datetime) -> Tallies:
    """Both counts, as soon as they agree or it is clear that they will not."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + RECORDED_WITHIN_S
    tallies = Tallies({}, {}, 0)
    while not tallies.equal or not tallies.recorded_counts:
        with suppress(NotNow):
            tallies = await _recorded(api, counts, began)
        if loop.time() > give_up:
            break
        await asyncio.sleep(LOOK_S)
    return tallies


async def _recorded(api: AdminApi, counts: Counts, began: datetime) -> Tallies:
    # Wider than the traffic on both sides: the range is cut to whole seconds of the database's clock.
    since, until = began - timedelta(minutes=1), datetime.now(UTC) + timedelta(minutes=1)
    metrics = await api.get(f"models/{MODEL}/metrics", **{"from": since.isoformat(), "to": until.isoformat()})
    recorded = {slot["version"]: _answers(slot) for slot in metrics["items"]}
    excluded = sum(slot["excluded"] for slot in metrics["items"])
    served = dict(sorted(counts.served.items()))
    return Tallies(served, {version: count for version, count in sorted(recorded.items()) if count}, excluded)


def _answers(slot: Mapping[str, Any]) -> int:
    """What a version answered: what a coin gave it and it could be reached for, and what it answered without one."""
    return int(slot["exchanges"] + slot["excluded"] - slot["outcomes"].get("connect_error", 0))


def _write(document: Mapping[str, object]) -> None:
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
    sys.stdout.flush()


def _close(report: Report) -> None:
    """The closing lines, every figure out of the report."""
    document = report.document()
    for one in report.ended:
        sys.stdout.write(
            f"{one.version} {one.phase.replace('_', ' ')} by {one.trigger} after {one.seconds:g} s:"
            f" {one.canary_requests:,} answers, {one.bad_answers:,} of them bad\n"
        )
    tallies = "equal to" if report.tallies.equal else "different from"
    sys.stdout.write(
        f"{document['answers']:,} answers in {document['seconds']:g} s ({document['answers_per_second']:,}/s),"
        f" {document['failed_by_gateway']} failed by the gateway; recorded tallies are {tallies} what the client saw\n"
    )
