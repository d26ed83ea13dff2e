"""Plays the story from an empty folder to its report, and leaves nothing behind."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import httpx
import orjson
import uvloop

from app.demo.admin_api import AdminApi
from app.demo.audience import Lines, Screen, audience
from app.demo.children import CannotPlay
from app.demo.fault import Fault, Outage
from app.demo.flights import DECLARED, MODEL, replay_months
from app.demo.landings import Landings
from app.demo.model_server import BUILDS
from app.demo.recorded import decisions, recalls, tallies
from app.demo.report import Report
from app.demo.stage import Stage, stage
from app.demo.story import Player

DONE, FAILED, INTERRUPTED = 0, 1, 130
PATIENCE_S = 15.0


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
    followers.hear(f"Starting Postgres, the gateway and {len(BUILDS)} model servers.")
    async with AsyncExitStack() as ends:
        set_up = await ends.enter_async_context(stage())
        client = await ends.enter_async_context(httpx.AsyncClient(base_url=set_up.admin_url, timeout=PATIENCE_S))
        api = AdminApi(client)
        began = datetime.now(UTC)
        await _register(set_up, api)
        outage = Outage(set_up.postgres) if fault is Fault.POSTGRES else None
        landings = await _landings(ends, set_up)
        player = Player(set_up, api, replay_months().flights, landings, followers)
        ends.callback(player.replay.abandon)
        followers.hear(f"Ready: admin API at {set_up.admin_url}, inference on port {set_up.inference_port}.")
        ended = await player.play(outage)
        counts = player.replay.counts
        await player.replay.stop()
        await landings.end()
        return Report(
            ended=ended,
            counts=counts,
            quality=landings.quality,
            labels=landings.results,
            unsent=landings.waiting,
            tallies=await tallies(api, counts, began),
            recalls=await recalls(api, counts, [one.version for one in ended if one.phase == "rolled_back"]),
            decisions=await decisions(api),
            seconds=player.replay.seconds,
            models={version: server.ready["quality"] for version, server in set_up.servers.items()},
            outage=outage,
        )


async def _landings(ends: AsyncExitStack, set_up: Stage) -> Landings:
    """Flights land and are reported as long as the stage stands."""
    inference = httpx.AsyncClient(base_url=set_up.inference_url, timeout=PATIENCE_S)
    landings = Landings(replay_months(), await ends.enter_async_context(inference))
    ends.callback(landings.abandon)
    landings.begin()
    return landings


async def _register(set_up: Stage, api: AdminApi) -> None:
    """The model with what is declared of it, and its versions, of which the first becomes stable."""
    await api.post("models", {"name": MODEL, **DECLARED})
    for version in BUILDS:
        place = {"urls": [set_up.server_url(version)], "health_path": f"/v2/models/{MODEL}/ready"}
        await api.put(f"models/{MODEL}/versions/{version}", place)


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
    for recall in report.recalls:
        same = "the same as" if recall.equal else "different from"
        sys.stdout.write(
            f"the recall of {recall.version} lists {recall.listed:,} answers, {same} what the client saw\n"
        )
    tallies = "equal to" if report.tallies.equal else "different from"
    sys.stdout.write(
        f"{document['answers']:,} answers in {document['seconds']:g} s ({document['answers_per_second']:,}/s),"
        f" {document['failed_by_gateway']} failed by the gateway; recorded tallies are {tallies} what the client saw\n"
    )
