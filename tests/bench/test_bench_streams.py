"""The load of event streams, and the memory of connections that do nothing."""

import socketserver
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from bench import streams
from bench.cpu import split_cpus
from bench.load import Loader
from bench.memory import affordable_connections, idle_connection_kib, tree_rss_kib
from bench.message import EVENTS, STREAM_END, STREAM_HEAD, event
from bench.servers import BenchFailed, Server, free_port, python_module, running

WHOLE = [event(number) for number in range(EVENTS + 1)]


@contextmanager
def upstream() -> Iterator[Server]:
    port = free_port()
    with running("upstream", python_module("bench.upstream", port), port, split_cpus()[0]) as server:
        yield server


class _Answers(socketserver.BaseRequestHandler):
    """Reads one request, writes the server's pieces one by one and hangs up."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Scripted)
        self.request.recv(65536)
        for piece in server.pieces:
            self.request.sendall(piece)


class _Scripted(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.pieces = pieces


@contextmanager
def scripted(pieces: Sequence[bytes]) -> Iterator[int]:
    with _Scripted(pieces) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_every_event_of_every_wave_is_counted_and_the_first_takes_its_interval(tmp_path: Path) -> None:
    with upstream() as server:
        got = Loader("own", split_cpus()[1], tmp_path).streams(server, 3, 2)
    assert got.events == 3 * 2 * (EVENTS + 1)
    assert got.first_p50_ms >= 10


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_events_are_counted_however_they_are_cut(size: int) -> None:
    stream = STREAM_HEAD + b"".join(WHOLE) + STREAM_END
    with scripted([stream[at : at + size] for at in range(0, len(stream), size)]) as port:
        got = streams.play(port, streams=1, waves=1)
    assert (got.events, got.failed) == (EVENTS + 1, 0)


@pytest.mark.parametrize(
    "pieces",
    [
        [STREAM_HEAD, *WHOLE],
        [STREAM_HEAD, *WHOLE[1:], STREAM_END],
        [STREAM_HEAD, WHOLE[0], *WHOLE, STREAM_END],
        [STREAM_HEAD.replace(b"200 OK", b"502 Bad Gateway"), *WHOLE, STREAM_END],
        [b"nonsense\r\n\r\n"],
        [],
    ],
    ids=["no end", "an event lost", "an event twice", "502", "nonsense", "hang up"],
)
def test_a_stream_that_is_not_whole_is_a_failure(pieces: list[bytes]) -> None:
    with scripted(pieces) as port:
        assert streams.play(port, streams=1, waves=1).failed == 1


def test_a_failed_stream_fails_the_load(tmp_path: Path) -> None:
    with scripted([]) as port, pytest.raises(BenchFailed, match="did not end as they should"):
        Loader("own", split_cpus()[1], tmp_path).streams(Server("scripted", port, 0), 2, 1)


def test_resident_memory_holds_what_a_process_and_its_child_touched() -> None:
    child = "held = bytearray(b'x') * 50_000_000; print(flush=True); input()"
    code = f"import subprocess, sys\nsubprocess.call([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 -- our own code
        assert process.stdout is not None
        process.stdout.readline()
        held_kib = tree_rss_kib(process.pid)
        process.communicate(b"\n")
    assert 50_000_000 / 1024 < held_kib < 150_000


def test_idle_connections_are_held_while_memory_is_read() -> None:
    with upstream() as server:
        kib = idle_connection_kib(server, 400, split_cpus()[1])
    assert 0 <= kib < 100


def test_a_server_that_does_not_serve_its_idle_connections_fails() -> None:
    with scripted([b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"]) as port, pytest.raises(BenchFailed, match="idle"):
        idle_connection_kib(Server("scripted", port, 1), 4, split_cpus()[1])


def test_no_more_connections_are_opened_than_a_process_may_have() -> None:
    assert affordable_connections(10) == 10
    assert affordable_connections(10**9) < 10**9
