"""The loads: what they send, what they count, what they refuse to count."""

import asyncio
import shutil
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from bench.client import closed_loop, open_loop
from bench.cpu import split_cpus
from bench.load import Burst, Loader, parse_wrk
from bench.message import INFER, LARGE, LARGE_SIZE, MANY_PATHS, PATHS, SIZE, answer, request
from bench.servers import BenchFailed, Server, answered_by, exchange_once, free_port, python_module, running
from bench.upstream import Counter, UpstreamProtocol

WRK_REPORT = """\
Running 1s test @ http://127.0.0.1:37759/
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   306.84us  226.33us   3.03ms   92.01%
    Req/Sec     6.84k     0.88k    8.22k    70.00%
  6806 requests in 1.00s, 794.25KB read
  Socket errors: connect 0, read 151, write 2, timeout 1
  Non-2xx or 3xx responses: 3403
Requests/sec:   6803.03
Transfer/sec:    793.91KB
"""
FAILURES = {
    "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nonsense": b"nonsense\r\n\r\n",
    "hang up": b"",
}
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


class _Answers(socketserver.BaseRequestHandler):
    """Reads whole requests and answers each with the server's one reply; "" hangs up."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Scripted)
        buffer = b""
        while data := self.request.recv(65536):
            buffer += data
            while (end := buffer.find(b"\r\n\r\n")) >= 0 and len(buffer) >= end + 4 + SIZE:
                server.heads.append(buffer[:end])
                buffer = buffer[end + 4 + SIZE :]
                if not server.reply:
                    return
                self.request.sendall(server.reply)


class _Scripted(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, reply: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.reply = reply
        self.heads: list[bytes] = []


@contextmanager
def scripted(reply: bytes) -> Iterator[_Scripted]:
    with _Scripted(reply) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def loader(tool: str, folder: Path) -> Loader:
    return Loader(tool, split_cpus()[1], folder)


def test_wrk_s_report_is_read_with_every_kind_of_failure() -> None:
    assert parse_wrk(WRK_REPORT) == Burst(completed=6806, failed=3403 + 151 + 2 + 1, seconds=1.0)


@pytest.mark.parametrize(("written", "seconds"), [("1.05s", 1.05), ("650.5ms", 0.6505), ("1.50m", 90.0)])
def test_wrk_s_duration_is_read_in_its_unit(written: str, seconds: float) -> None:
    report = f"  12 requests in {written}, 1.00KB read\nRequests/sec: 1.00\n"
    assert parse_wrk(report).seconds == pytest.approx(seconds)


def test_a_report_without_requests_is_a_failure_not_zero() -> None:
    with pytest.raises(BenchFailed, match="nothing about its requests"):
        parse_wrk("unable to connect to 127.0.0.1:9 Connection refused\n")


def test_the_message_is_one_kibibyte_each_way_with_eight_headers_or_an_id_more() -> None:
    assert len(INFER.body) == len(INFER.answer or b"") == SIZE == 1024
    for message, headers in ((request(80), 8), (request(80, number=7), 9)):
        head, _, body = message.partition(b"\r\n\r\n")
        assert body == INFER.body
        assert len(head.split(b"\r\n")) == 1 + headers


@needs_wrk
def test_wrk_sends_the_headers_that_our_client_sends(tmp_path: Path) -> None:
    with scripted(answer()) as server:
        loader("wrk", tmp_path).burst(Server("scripted", server.server_address[1], 0), 1, 1)
        wrk_lines = server.heads[0].split(b"\r\n")
    own_lines = request(server.server_address[1]).partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert wrk_lines[0] == own_lines[0]
    assert sorted(wrk_lines[1:]) == sorted(own_lines[1:])


@needs_wrk
def test_no_two_numbered_requests_of_a_burst_have_the_same_head(tmp_path: Path) -> None:
    with scripted(answer()) as server:
        loader("wrk", tmp_path).burst(Server("scripted", server.server_address[1], 0), 1, 1, numbered=True)
    with scripted(answer()) as other:
        closed_loop(other.server_address[1], connections=2, seconds=0.1, numbered=True)
    for heads in (server.heads, other.heads):
        assert len(heads) == len(set(heads)) > 1


def _path(head: bytes) -> str:
    return head.split(b" ")[1].decode()


@pytest.mark.parametrize("tool", ["own", pytest.param("wrk", marks=needs_wrk)])
def test_a_rotating_load_goes_round_all_its_paths(tool: str, tmp_path: Path) -> None:
    with scripted(answer()) as server:
        loader(tool, tmp_path).burst(Server("scripted", server.server_address[1], 0), 1, 0.3, MANY_PATHS)
        paths = [_path(head) for head in server.heads]
    # wrk asks its script once before it begins.
    start = MANY_PATHS.paths.index(paths[0])
    assert paths[:PATHS] == [*MANY_PATHS.paths[start:], *MANY_PATHS.paths[:start]]


@pytest.mark.parametrize("tool", ["own", pytest.param("wrk", marks=needs_wrk)])
def test_a_burst_and_the_upstream_count_the_same_exchanges(tool: str, tmp_path: Path) -> None:
    port = free_port()
    with running("upstream", python_module("bench.upstream", port), port, split_cpus()[0]) as upstream:
        before = answered_by(upstream)
        burst = loader(tool, tmp_path).burst(upstream, 8, 0.3)
        counted = answered_by(upstream) - before
    assert burst.completed > 0
    assert burst.completed <= counted <= burst.completed + 8


@pytest.mark.parametrize("tool", ["own", pytest.param("wrk", marks=needs_wrk)])
def test_a_large_burst_is_answered_in_full(tool: str, tmp_path: Path) -> None:
    port = free_port()
    with running("upstream", python_module("bench.upstream", port), port, split_cpus()[0]) as upstream:
        assert exchange_once(port, LARGE) == ""
        assert loader(tool, tmp_path).burst(upstream, 2, 0.3, LARGE).completed > 0
    assert len(LARGE.body) == len(LARGE.answer or b"") == LARGE_SIZE


@pytest.mark.parametrize("tool", ["own", pytest.param("wrk", marks=needs_wrk)])
@pytest.mark.parametrize("reply", FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_answer_fails_the_burst(tool: str, reply: bytes, tmp_path: Path) -> None:
    with scripted(reply) as server, pytest.raises(BenchFailed):
        loader(tool, tmp_path).burst(Server("scripted", server.server_address[1], 0), 2, 0.3)


def test_the_closed_loop_counts_bad_statuses() -> None:
    with scripted(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n") as server:
        outcome = closed_loop(server.server_address[1], connections=2, seconds=0.1)
    assert outcome.failed == outcome.completed > 0


def test_the_open_loop_keeps_its_rate_and_answers_everything_due() -> None:
    with scripted(answer()) as server:
        outcome = open_loop(server.server_address[1], rate=200, seconds=0.5)
    assert (outcome.completed, outcome.failed) == (100, 0)
    assert outcome.seconds >= 99 / 200
    assert outcome.p50_us is not None
    assert 0 < outcome.p50_us < outcome.seconds * 1e6


def test_the_open_loop_charges_waiting_for_a_connection_to_the_server() -> None:
    """A closed loop would hide it: 500 due at once on 32 connections wait for each other."""
    with scripted(answer()) as server:
        crowded = open_loop(server.server_address[1], rate=1e9, seconds=5e-7).p50_us
    assert crowded is not None
    with scripted(answer()) as server:
        calm = open_loop(server.server_address[1], rate=100, seconds=0.2).p50_us
    assert calm is not None
    assert crowded > calm


async def _exchange(pieces: list[bytes], answers: int) -> tuple[bytes, int]:
    counter = Counter()
    server = await asyncio.get_running_loop().create_server(lambda: UpstreamProtocol(counter), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        got = await reader.readexactly(len(answer()) * answers)
        writer.close()
        await writer.wait_closed()
    return got, counter.answered


@pytest.mark.parametrize("size", [1, 97, 1024, 5000])
async def test_the_upstream_answers_every_request_however_it_is_cut(size: int) -> None:
    stream = request(80) * 3
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert await _exchange(pieces, 3) == (answer() * 3, 3)
