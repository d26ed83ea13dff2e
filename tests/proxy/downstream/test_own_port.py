"""The ports of the gateway's own paths: the same strict connection, kept alive, and no place held for nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from fakes.waiting import eventually
from proxy.serving import serving, serving_with_uvicorn
from proxy.talking import Talk, get, post, talking
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.proxy.bounds.admission import own
from app.proxy.bounds.limits import Limits
from app.proxy.downstream.addressed import Addressees
from app.proxy.downstream.own_port import OwnPort

BODY_MAX = 1_000
LIMITS = replace(own(8, BODY_MAX), sweep_s=0.02)
LARGE = bytes(8_000_000)
HALF_A_HEAD = b"GET /echo HTTP/1.1\r\nhost: gateway.test\r\nx-slow:"


class Application:
    """What answers on the port under test."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.left = asyncio.Event()
        self.asgi = Starlette(
            routes=[
                Route("/echo", self.echo, methods=["GET", "POST"]),
                Route("/large", self.large),
                Route("/waits", self.waits),
                Route("/stream", self.stream),
                Route("/endless", self.endless),
                Route("/breaks", self.breaks),
            ]
        )

    async def echo(self, request: Request) -> Response:
        return Response(await request.body() or b"nothing", headers={"fields": ",".join(sorted(request.headers))})

    async def large(self, _: Request) -> Response:
        return Response(LARGE)

    async def waits(self, request: Request) -> Response:
        while not self.go.is_set():
            if await request.is_disconnected():
                self.left.set()
            await asyncio.sleep(0.005)
        return Response(b"at last")

    async def stream(self, _: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await self.go.wait()
            yield b"data: last\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def endless(self, _: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(65_536)
                    await asyncio.sleep(0)
            finally:
                self.left.set()

        return StreamingResponse(events(), media_type="application/x-ndjson")

    async def breaks(self, _: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"a part"
            raise ConnectionError

        return StreamingResponse(events())


@asynccontextmanager
async def serving_own(
    limits: Limits = LIMITS, application: Application | None = None
) -> AsyncIterator[tuple[OwnPort, int]]:
    port = OwnPort(limits, Addressees(["gateway.test"]))
    async with serving(port, (application or Application()).asgi) as number:
        yield port, number
    assert port.collected.held == 0


async def test_requests_follow_each_other_over_one_connection_each_behind_a_strict_head() -> None:
    async with serving_own() as (port, number), talking(number) as talk:
        for _ in range(5):
            answer = await talk.ask(get("/echo"))
            assert (answer.status, answer.field("connection")) == (200, None)
        assert (await talk.ask(post(b"hello", "/echo"))).body == b"hello"
        chunked = get("/echo", "transfer-encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n"
        await talk.send(get("/echo") + chunked + get("/echo"))
        assert [(await talk.answer()).body for _ in range(3)] == [b"nothing", b"hello", b"nothing"]
        assert len(port.clients) == 1
        assert port.collected.held == 0
        assert (await talk.ask(get("/echo", "host: second"))).status == 400
        assert await talk.is_closed()


@pytest.mark.parametrize(
    "raw",
    [get("/echo", "connection: close"), b"GET /echo HTTP/1.0\r\nhost: localhost\r\n\r\n"],
)
async def test_who_asks_for_the_end_gets_it_behind_the_answer(raw: bytes) -> None:
    async with serving_own() as (_, number), talking(number) as talk:
        answer = await talk.ask(raw)
        assert (answer.status, answer.field("connection")) == (200, "close")
        assert await talk.is_closed()


async def test_a_request_is_made_anew_but_for_what_the_application_asks_for() -> None:
    async with serving_own() as (_, number), talking(number) as talk:
        fields = ("X-Turnback-Actor: ann", "X-Turnback-Model: m", "X-Forwarded-For: 1.2.3.4", "TE: trailers", "A: b")
        answer = await talk.ask(get("/echo", *fields))
        assert answer.field("fields") == "a,content-length,host,x-request-id,x-turnback-actor"
        assert (await talk.ask(get("/echo", *fields, "x-turnback-actor: bob"))).status == 400


MALFORMED = {
    "two hosts": (get("/echo", "host: b"), 400, "MalformedRequest"),
    "no host": (b"GET /echo HTTP/1.1\r\n\r\n", 400, "MalformedRequest"),
    "no request line": (b"hello\r\n\r\n", 400, "MalformedRequest"),
    "two framings": (post(b"x", "/echo", "transfer-encoding: chunked"), 400, "MalformedRequest"),
    "a control character": (get("/echo", "a: b\x01"), 400, "MalformedRequest"),
    "an underscore": (get("/echo", "content_length: 1"), 400, "MalformedRequest"),
    "an escaped path": (get("/%65cho"), 400, "MalformedRequest"),
    "a dotted path": (get("/echo/../echo"), 400, "MalformedRequest"),
    "no port": (b"GET /echo HTTP/1.1\r\nhost: localhost:65536\r\n\r\n", 400, "MalformedRequest"),
    "a broken chunk": (get("/echo", "transfer-encoding: chunked", method="POST") + b"x\r\n", 400, "MalformedRequest"),
    "a large body": (get("/echo", f"content-length: {BODY_MAX + 1}", method="POST"), 413, "BodyTooLarge"),
    "large chunks": (
        get("/echo", "transfer-encoding: chunked", method="POST") + b"3e9\r\n" + bytes(1_001) + b"\r\n",
        413,
        "BodyTooLarge",
    ),
    "a long target": (get("/" + "a" * 8_192), 414, "UrlTooLong"),
    "an expectation": (get("/echo", "expect: a miracle"), 417, "ExpectationFailed"),
    "a large head": (get("/echo", "a: " + "b" * 32_768), 431, "HeadTooLarge"),
    "many fields": (get("/echo", *(f"a{number}: b" for number in range(100))), 431, "HeadTooLarge"),
    "a method": (get("/echo", method="BREW"), 501, "MethodNotImplemented"),
    "an upgrade": (get("/echo", "connection: upgrade", "upgrade: websocket"), 501, "UpgradeNotImplemented"),
    "a version": (b"GET /echo HTTP/2.0\r\nhost: localhost\r\n\r\n", 505, "HttpVersionNotSupported"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_request_is_told_so_in_a_problem_and_ends_the_connection(name: str) -> None:
    raw, status, code = MALFORMED[name]
    async with serving_own() as (_, number), talking(number) as talk:
        answer = await talk.ask(raw)
        problem = answer.problem()
        assert (answer.status, problem["code"], answer.field("connection")) == (status, code, "close")
        assert problem["type"].endswith(":" + code)
        assert await talk.is_closed()


@pytest.mark.parametrize(
    "begun", [HALF_A_HEAD, b"G", get("/echo", "content-length: 9", method="POST") + b"x"], ids=["head", "G", "body"]
)
async def test_what_does_not_arrive_in_time_is_told_so(begun: bytes) -> None:
    limits = replace(LIMITS, head_s=0.1, request_s=0.1)
    async with serving_own(limits) as (_, number), talking(number) as talk:
        answer = await talk.ask(begun)
        assert (answer.status, answer.problem()["code"]) == (408, "RequestTimeout")
        assert await talk.is_closed()


async def test_a_body_has_to_come_at_the_owed_rate() -> None:
    async with serving_own(replace(LIMITS, client_idle_s=0.2)) as (_, number), talking(number) as talk:
        await talk.send(get("/echo", "content-length: 900", method="POST"))
        answer = await talk.answer()
        assert (answer.status, "bytes a second" in answer.problem()["detail"]) == (408, True)


async def test_a_port_without_bodies_takes_none() -> None:
    async with serving_own(own(8, 0)) as (_, number), talking(number) as talk:
        assert (await talk.ask(get("/echo", "content-length: 0", method="POST"))).status == 200
        assert (await talk.ask(post(b"x", "/echo"))).status == 413


async def test_a_body_is_read_only_after_the_client_was_told_to_go_on() -> None:
    async with serving_own() as (_, number), talking(number) as talk:
        await talk.send(get("/echo", "Expect: 100-continue", "content-length: 2", method="POST"))
        assert (await talk.head()) == (100, [])
        assert (await talk.ask(b"hi")).body == b"hi"
        assert (await talk.ask(b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n")).status == 204


# ---------------------------------------------------------------------- places


@asynccontextmanager
async def crowd(number: int, sends: bytes, size: int = LIMITS.connections) -> AsyncIterator[list[Talk]]:
    """So many connections, one after the other, each of which has sent this."""
    async with AsyncExitStack() as stack:
        talks = []
        for _ in range(size):
            talk = await stack.enter_async_context(talking(number))
            await talk.send(sends)
            talks.append(talk)
        yield talks


@asynccontextmanager
async def asking(number: int) -> AsyncIterator[Talk]:
    """A connection that has had an answer."""
    async with talking(number) as talk:
        assert (await talk.ask(get("/echo"))).status == 200
        yield talk


async def test_where_all_places_are_taken_the_longest_idle_connection_makes_room() -> None:
    async with serving_own() as (port, number), crowd(number, get("/echo")) as talks:
        for talk in talks:
            assert (await talk.answer()).status == 200
        # The first asks again, so that the second is idle for longest.
        assert (await talks[0].ask(get("/echo"))).status == 200
        async with talking(number) as late:
            assert (await late.ask(get("/echo"))).status == 200
            assert await talks[1].is_closed()
            assert (await talks[0].ask(get("/echo"))).status == 200
            assert len(port.clients) == LIMITS.connections


@pytest.mark.parametrize(
    "begun", [HALF_A_HEAD, get("/echo", "content-length: 2", method="POST") + b"h"], ids=["head", "body"]
)
async def test_an_unfinished_request_makes_room_after_all_that_are_idle_and_is_told_so(begun: bytes) -> None:
    async with (
        serving_own() as (port, number),
        crowd(number, begun, LIMITS.connections - 1) as talks,
        AsyncExitStack() as stack,
    ):
        idle, first, second = [await stack.enter_async_context(asking(number)) for _ in range(3)]
        assert await idle.is_closed()
        assert await first.is_closed()
        assert (await second.ask(get("/echo"))).status == 200
        assert len(port.clients) == LIMITS.connections
        # Nobody is idle but for a moment now: the oldest head has to go.
        await second.send(HALF_A_HEAD)
        await eventually(lambda: all((client.dispensable() or (0,))[0] == 2 for client in port.clients))
        await stack.enter_async_context(asking(number))
        answer = await talks[0].answer()
        assert (answer.status, answer.problem()["code"]) == (503, "TooManyConnections")


async def test_half_heads_without_end_keep_nobody_who_asks_from_an_answer() -> None:
    async with serving_own() as (port, number), crowd(number, HALF_A_HEAD, 3 * LIMITS.connections):
        for _ in range(5):
            async with talking(number) as talk, crowd(number, HALF_A_HEAD, LIMITS.connections - 3):
                assert (await talk.ask(get("/echo"))).status == 200
                assert len(port.clients) <= LIMITS.connections


async def test_where_every_connection_is_served_one_more_is_told_to_come_again() -> None:
    application = Application()
    async with serving_own(application=application) as (port, number), crowd(number, get("/waits")) as talks:
        await eventually(lambda: all(client.dispensable() is None for client in port.clients))
        async with talking(number) as late:
            answer = await late.answer()
            assert (answer.status, answer.field("retry-after")) == (503, "1")
            assert answer.problem()["code"] == "TooManyConnections"
            assert await late.is_closed()
        application.go.set()
        assert [(await talk.answer()).body for talk in talks] == [b"at last"] * len(talks)


async def test_a_stream_that_nobody_reads_makes_room_and_one_that_is_read_does_not() -> None:
    application = Application()
    async with (
        serving_own(application=application) as (port, number),
        crowd(number, get("/stream"), LIMITS.connections - 1) as followed,
        talking(number) as stalled,
    ):
        for talk in followed:
            await talk.head()
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        await stalled.send(get("/endless"))
        await eventually(lambda: any((client.dispensable() or (0,))[0] == 3 for client in port.clients))
        async with talking(number) as late:
            assert (await late.ask(get("/echo"))).status == 200
            await eventually(application.left.is_set)
            application.go.set()
            assert [await talk.chunks() for talk in followed] == [b"data: first\n\ndata: last\n\n"] * len(followed)


# ---------------------------------------------------------------------- answers


async def test_an_answer_has_a_deadline_and_a_stream_has_none() -> None:
    application = Application()
    limits = replace(LIMITS, answer_s=0.1, client_idle_s=0.1)
    async with (
        serving_own(limits, application) as (port, number),
        talking(number) as follower,
        talking(number) as waiting,
    ):
        await follower.send(get("/stream"))
        await follower.head()
        await waiting.send(get("/waits"))
        assert await waiting.is_closed()
        await eventually(application.left.is_set)
        assert len(port.clients) == 1
        application.go.set()
        assert await follower.chunks() == b"data: first\n\ndata: last\n\n"
        assert (await follower.ask(get("/echo"))).status == 200


async def test_whoever_does_not_read_an_answer_is_cut_and_whoever_does_not_read_a_stream_is_left() -> None:
    limits = replace(LIMITS, client_idle_s=0.1)
    async with serving_own(limits) as (port, number), talking(number) as stalled, talking(number) as greedy:
        for talk, path in ((stalled, "/endless"), (greedy, "/large")):
            talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
            await talk.send(get(path))
        await eventually(lambda: len(port.clients) == 2)
        await eventually(lambda: len(port.clients) == 1)
        await asyncio.sleep(5 * limits.client_idle_s)
        assert len(port.clients) == 1


async def test_a_large_answer_comes_whole_and_the_next_request_after_it() -> None:
    async with serving_own() as (_, number), talking(number) as talk:
        await talk.send(get("/large") + get("/echo"))
        assert (await talk.answer()).body == LARGE
        assert (await talk.answer()).body == b"nothing"


async def test_a_stream_that_breaks_off_ends_without_its_last_chunk(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_own() as (_, number), talking(number) as talk:
        await talk.send(get("/breaks"))
        await talk.head()
        assert await talk.chunk() == b"a part"
        assert await talk.is_closed()
    assert "Exception in ASGI application" in caplog.text


async def test_the_application_hears_of_a_client_that_leaves() -> None:
    application = Application()
    async with serving_own(application=application) as (port, number):
        async with talking(number) as talk:
            await talk.send(get("/waits"))
            await eventually(lambda: bool(port.clients))
        await eventually(application.left.is_set)
        assert not port.clients


async def test_the_server_ends_after_the_last_answer() -> None:
    application = Application()
    port = OwnPort(LIMITS, Addressees(["gateway.test"]))
    async with (
        serving_with_uvicorn(port, application.asgi) as (server, number),
        talking(number) as idle,
        talking(number) as busy,
    ):
        assert (await idle.ask(get("/echo"))).status == 200
        await busy.send(get("/waits"))
        await eventually(lambda: any(client.dispensable() is None for client in port.clients))
        server.should_exit = True
        assert await idle.is_closed()
        application.go.set()
        answer = await busy.answer()
        assert (answer.body, answer.field("connection")) == (b"at last", "close")
        assert await busy.is_closed()
