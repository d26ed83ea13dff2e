"""The replay client reads every answer as it is, and says whose fault a missing one was."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import repeat

import pytest

from app.demo.flights import history, request
from app.demo.replay import Answer, Counts, Replay, Request

REQUEST = Request(request(history().flights[0], "localhost"), 7)


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


GOOD = answer("200 OK", b"{}", "x-turnback-version: v1", "x-model-version: v1")
BAD = answer("500 Internal Server Error", b"{}", "x-turnback-version: v3", "x-model-version: v3")
CHUNKED = b"HTTP/1.1 200 OK\r\nX-Turnback-Version: v2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
PROBLEM = "content-type: application/problem+json"


@asynccontextmanager
async def server(script: Callable[[int], list[bytes]]) -> AsyncIterator[int]:
    """Answers the n-th request on any connection with the pieces of `script(n)`; none hangs up."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while True:
            try:
                await reader.readexactly(len(REQUEST.content))
            except asyncio.IncompleteReadError:
                break
            pieces = script(seen)
            seen += 1
            if not pieces:
                break
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


async def replayed(port: int, requests: int, per_second: float = 2_000.0) -> Counts:
    replay = Replay("127.0.0.1", port, repeat(REQUEST, requests), per_second)
    replay.start()
    async with asyncio.timeout(10):
        await replay.finished.wait()
        await replay.stop()
    return replay.counts


async def test_every_answer_is_counted_once_for_the_version_that_gave_it() -> None:
    async with server(lambda n: [BAD if n % 4 == 0 else GOOD]) as port:
        counts = await replayed(port, 40)
    assert counts.sent == counts.answers == 40
    assert counts.served == {"v1": 30, "v3": 10}
    assert counts.statuses == {200: 30, 500: 10}
    assert counts.bad == {"v3": 10}
    assert counts.failed_by_gateway == 0
    assert {version: len(seconds) for version, seconds in counts.seconds.items()} == {"v1": 30, "v3": 10}


async def test_an_answer_in_single_bytes_or_chunks_is_one_answer() -> None:
    pieces = {0: [bytes([byte]) for byte in GOOD], 1: [CHUNKED[:50], CHUNKED[50:]]}
    async with server(lambda n: pieces[n % 2]) as port:
        counts = await replayed(port, 6, per_second=200.0)
    assert counts.served == {"v1": 3, "v2": 3}


@pytest.mark.parametrize(
    ("body", "fault", "gateways"),
    [
        (b'{"fault": "gateway"}', "gateway", 1),
        (b'{"fault": "upstream"}', "upstream", 0),
        (b'{"title": "says nothing"}', "gateway", 1),
        (b"[]", "gateway", 1),
        (b"{", "gateway", 1),
    ],
)
async def test_a_problem_is_held_against_the_one_it_names(body: bytes, fault: str, gateways: int) -> None:
    problem = answer("503 Service Unavailable", body, PROBLEM, "x-turnback-version: v1")
    async with server(lambda n: [problem]) as port:
        counts = await replayed(port, 1)
    assert counts.faults == {fault: 1}
    assert counts.failed_by_gateway == gateways
    assert counts.bad == ({} if gateways else {"v1": 1})


@pytest.mark.parametrize("pieces", [[], [GOOD[:20]], [b"garbage\r\n\r\n"]])
async def test_a_connection_that_breaks_before_the_answer_is_a_failure_of_the_gateway(pieces: list[bytes]) -> None:
    async with server(lambda n: [*pieces, b""] if n == 0 and pieces else []) as port:
        replay = Replay("127.0.0.1", port, repeat(REQUEST, 1), 100.0)
        replay.start()
        async with asyncio.timeout(10):
            await replay.finished.wait()
            await replay.stop(patience_s=0.2)
    assert replay.counts.answers == 0
    assert replay.counts.failed_by_gateway == 1


async def test_a_connection_the_server_closes_after_its_answer_is_no_failure() -> None:
    async with server(lambda n: [answer("200 OK", b"{}", "connection: close", "x-turnback-version: v1")]) as port:
        counts = await replayed(port, 20)
    assert counts.answers == 20
    assert counts.failed_by_gateway == 0


async def test_requests_to_a_port_where_nobody_listens_have_failed() -> None:
    async with server(lambda n: []) as port:
        pass
    counts = await replayed(port, 3)
    assert counts.sent == counts.failed_by_gateway == 3


async def test_an_answer_whose_server_names_another_version_is_mislabelled() -> None:
    wrong = answer("200 OK", b"{}", "x-turnback-version: v1", "x-model-version: v2")
    async with server(lambda n: [wrong]) as port:
        counts = await replayed(port, 2)
    assert counts.mislabelled == 2


async def test_whoever_follows_hears_what_each_answer_said_and_what_it_was_about() -> None:
    body = b'{"outputs": [{"data": [0.75]}]}'
    named = ("x-turnback-version: v1", "X-Request-Id: a-1", "x-turnback-receipt: 1:sealed")
    heard: list[Answer] = []
    async with server(lambda n: [answer("200 OK", body, *named) if n == 0 else GOOD]) as port:
        replay = Replay("127.0.0.1", port, repeat(REQUEST, 2), 20.0, heard.append)
        replay.start()
        async with asyncio.timeout(10):
            await replay.finished.wait()
            await replay.stop()
    first, second = heard
    assert (first.flight, first.chance, first.receipt, first.request_id) == (7, 0.75, "1:sealed", "a-1")
    assert (second.flight, second.chance, second.receipt, second.request_id) == (7, None, "", "")
    assert replay.counts.ids == {"v1": ["a-1", ""]}


async def test_a_slow_server_does_not_slow_the_schedule_down() -> None:
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST.content))
        await release.wait()
        writer.write(GOOD)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    replay = Replay("127.0.0.1", listener.sockets[0].getsockname()[1], repeat(REQUEST, 50), 1_000.0)
    replay.start()
    async with asyncio.timeout(10):
        await replay.finished.wait()
        await asyncio.sleep(0.1)
        assert replay.counts.answers == 0
        assert replay.in_flight == 50
        release.set()
        await replay.stop()
    listener.close()
    assert replay.counts.answers == 50
