"""Processes of a benchmark: started on free loopback ports, ready when they answer, always stopped."""

import http.client
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import current_thread, main_thread
from time import monotonic, sleep
from types import FrameType
from typing import IO

from app.errors import ErrorKind, TurnbackError
from bench.cpu import children_on
from bench.message import HEADERS, INFER, Message

CHECKOUT = Path(__file__).resolve().parent.parent
READY_S = 20.0
STOP_S = 5.0


class BenchFailed(TurnbackError):
    """A server did not start, or a load saw a failure; no figure of such a run is worth anything."""

    kind = ErrorKind.UNAVAILABLE
    title = "The benchmark could not be run"


@dataclass(frozen=True, slots=True)
class Server:
    """A running process that answers on a loopback port."""

    name: str
    port: int
    pid: int


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def python_module(module: str, *arguments: object) -> list[str]:
    """Command that runs a module of this checkout with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    port: int,
    cpus: set[int],
    *,
    message: Message = INFER,
    ready_s: float = READY_S,
    folder: Path = CHECKOUT,
) -> Iterator[Server]:
    """Start a server, wait until it really answers, stop it at the end.

    Args:
        message: What it must answer to count as ready.
        ready_s: How long it may take.
        folder: Where it runs, and so whose modules it has.

    Raises: BenchFailed, with the end of what it wrote on stderr, when it leaves or stays silent.
    """
    with TemporaryFile() as stderr:
        with children_on(cpus):
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )
        try:
            problem = _wait_until_ready(process, port, message, ready_s)
            _require(name, problem, stderr)
            yield Server(name, port, process.pid)
        except BenchFailed as failed:
            failed.add_note(f"{name} wrote on stderr: {_end_of(stderr) or 'nothing'}")
            raise
        finally:
            _stop(process)


def _require(name: str, problem: str, stderr: IO[bytes]) -> None:
    if problem:
        raise BenchFailed(f"{name} did not become ready: {problem}. {_end_of(stderr)}".strip(), peer=name)


def _end_of(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    return stderr.read().decode(errors="replace")[-1000:].strip()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, message: Message, ready_s: float) -> str:
    """What is wrong in the end; "" once the right answer came."""
    deadline = monotonic() + ready_s
    problem = "no answer"
    while monotonic() < deadline:
        if process.poll() is not None:
            return f"it left with code {process.returncode}"
        try:
            problem = exchange_once(port, message)
        except (OSError, http.client.HTTPException) as error:
            problem = repr(error)
        if not problem:
            break
        sleep(0.05)
    return problem


def exchange_once(port: int, message: Message = INFER) -> str:
    """Send one exchange; "" when the right answer came back, else what came instead."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", message.paths[0], body=message.body, headers=HEADERS | {"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status == 200 and message.answer in {None, body}:
        return ""
    return f"status {answer.status}, {body[:300].decode(errors='replace')!r}"


def answered_by(upstream: Server) -> int:
    """How many exchanges the upstream has answered so far."""
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=5)
    try:
        connection.request("GET", "/count")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """A SIGTERM inside unwinds the stack like Ctrl-C does, so that every server is stopped."""
    if current_thread() is not main_thread():
        yield
        return
    usual = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _leave(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
