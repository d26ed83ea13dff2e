"""One burst of load on one server: by wrk where it is installed, else by our own client.

Rule: a burst with a single failed answer raises; the CPU figures of failures are not figures of the proxy.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.cpu import children_on
from bench.message import EVENT_INTERVAL_S, EVENTS, INFER, Message, wrk_script
from bench.servers import CHECKOUT, BenchFailed, Server, python_module

WRK_INSTALL = "apt-get install wrk"
# Beyond its own duration, a load that has not finished by then hangs.
_PATIENCE_S = 15
_WARM_UP_S = 0.3

_WRK_REQUESTS = re.compile(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h),", re.MULTILINE)
_WRK_BAD_STATUS = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_WRK_SOCKET_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Burst:
    """What one saturating load got answered; `failed` counts bad statuses and socket errors."""

    completed: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Streams:
    """What one load of event streams got.

    Attributes:
        first_p50_ms: Median from a request to its first event.
    """

    events: int
    first_p50_ms: float


def wrk_present() -> bool:
    return shutil.which("wrk") is not None


def parse_wrk(output: str) -> Burst:
    """Read wrk's report. Raises: BenchFailed when it is none."""
    requests = _WRK_REQUESTS.search(output)
    if requests is None:
        raise BenchFailed(f"wrk said nothing about its requests: {output[:300]!r}")
    bad_status = _WRK_BAD_STATUS.search(output)
    errors = _WRK_SOCKET_ERRORS.search(output)
    failed = int(bad_status[1]) if bad_status else 0
    failed += sum(map(int, errors.groups())) if errors else 0
    return Burst(int(requests[1]), failed, float(requests[2]) * _SECONDS[requests[3]])


@dataclass(frozen=True, slots=True)
class Loader:
    """Sends bursts from the load's CPU.

    Attributes:
        tool: "wrk" or "own".
        folder: Where wrk's script is written.
    """

    tool: str
    cpus: set[int]
    folder: Path

    def warm_up(self, server: Server, connections: int, message: Message = INFER) -> None:
        """Fill the server's connection pool; short, so not by wrk."""
        self._own(server, connections, _WARM_UP_S, message, numbered=False)

    def burst(
        self, server: Server, connections: int, seconds: float, message: Message = INFER, *, numbered: bool = False
    ) -> Burst:
        """Saturate a server; wrk rounds the duration up to whole seconds. Raises: BenchFailed."""
        saturate = self._wrk if self.tool == "wrk" else self._own
        burst = saturate(server, connections, seconds, message, numbered=numbered)
        if burst.failed or not burst.completed:
            raise BenchFailed(f"{server.name}: {burst.failed} exchanges failed, {burst.completed} went well")
        return burst

    def _wrk(self, server: Server, connections: int, seconds: float, message: Message, *, numbered: bool) -> Burst:
        script = self.folder / "post.lua"
        script.write_text(wrk_script(server.port, message, numbered=numbered))
        whole_s = max(1, round(seconds + 0.499))
        url = f"http://127.0.0.1:{server.port}/"
        return parse_wrk(
            self._run(["wrk", "-t1", f"-c{connections}", f"-d{whole_s}s", "-s", str(script), url], whole_s)
        )

    def _own(self, server: Server, connections: int, seconds: float, message: Message, *, numbered: bool) -> Burst:
        options = ["--message", message.name, "--connections", connections, *(["--numbered"] if numbered else [])]
        outcome = self._client("closed", server.port, seconds, *options)
        return Burst(outcome["completed"], outcome["failed"], outcome["seconds"])

    def latency_p50_us(self, server: Server, rate: int, seconds: float) -> float:
        """Median latency at a fixed rate, from the moment each exchange was due. Raises: BenchFailed."""
        outcome = self._client("open", server.port, seconds, "--rate", rate)
        if outcome["failed"] or not outcome["completed"]:
            raise BenchFailed(f"{server.name}: {outcome['failed']} of the exchanges at {rate}/s failed")
        return float(outcome["p50_us"])

    def streams(self, server: Server, streams: int, waves: int) -> Streams:
        """Event streams side by side, wave after wave. Raises: BenchFailed."""
        seconds = waves * EVENT_INTERVAL_S * (EVENTS + 2)
        outcome = json.loads(self._run(python_module("bench.streams", server.port, streams, waves), seconds))
        if outcome["failed"] or not outcome["events"]:
            raise BenchFailed(f"{server.name}: {outcome['failed']} of {streams} streams did not end as they should")
        return Streams(outcome["events"], outcome["first_p50_ms"])

    def _client(self, loop: str, port: int, seconds: float, *options: object) -> dict[str, int]:
        outcome: dict[str, int] = json.loads(
            self._run(python_module("bench.client", loop, port, seconds, *options), seconds)
        )
        return outcome

    def _run(self, command: list[str], seconds: float) -> str:
        try:
            with children_on(self.cpus):
                done = subprocess.run(
                    command, cwd=CHECKOUT, capture_output=True, text=True, timeout=seconds + _PATIENCE_S, check=True
                )
        except subprocess.TimeoutExpired as error:
            raise BenchFailed(f"the load did not end {_PATIENCE_S} s after its time") from error
        except subprocess.CalledProcessError as error:
            raise BenchFailed(f"the load failed: {error.stderr[-500:]}") from error
        return done.stdout
