"""The gateway's own paths, and the contract with uvicorn."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.serving import configured, gateway_with, routed, serving, serving_with_uvicorn, table_of
from proxy.talking import get, post, talking
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.domain.catalog.models import Match
from app.proxy import Gateway, Limits
from app.proxy.downstream.listener import ClientConnection


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "path": request.url.path,
            "method": request.method,
            "body": (await request.body()).decode(),
            "fields": sorted(request.headers),
        }
    )


APP = Starlette(routes=[Route("/turnback/{rest:path}", echo, methods=["GET", "POST"])])


@pytest.mark.parametrize(
    "raw",
    [
        post(b"hello", "/turnback/v1/feedback"),
        get("/turnback/v1/feedback", "transfer-encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 10_000])
async def test_own_paths_reach_the_application_as_one_whole_message(raw: bytes, step: int) -> None:
    async with serving(gateway_with(table_of()), APP) as port, talking(port) as talk:
        for start in range(0, len(raw), step):
            await talk.send(raw[start : start + step])
            await asyncio.sleep(0)
        answer = await talk.answer()
        assert answer.status == 200
        assert b'"path":"/turnback/v1/feedback","method":"POST","body":"hello"' in answer.body
        assert b"transfer-encoding" not in answer.body
        assert b"x-request-id" in answer.body
        # The connection stays, and whatever comes next passes the same strict head.
        assert answer.field("connection") is None
        assert (await talk.ask(get("/turnback/v1/again"))).status == 200
        assert (await talk.ask(get("/turnback/v1/again", "host: another"))).status == 400


async def test_an_own_path_waits_for_the_exchange_before_it_and_the_next_one_for_its_answer() -> None:
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await go.wait()
        await conversation.send(ok(b"first"))
        await conversation.request()
        await conversation.send(ok(b"second"))

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway, APP) as port, talking(port) as talk:
            await talk.send(get() + get("/turnback/a") + get())
            await eventually(lambda: server.open)
            go.set()
            assert (await talk.answer()).body == b"first"
            assert b"/turnback/a" in (await talk.answer()).body
            assert (await talk.answer()).body == b"second"


async def test_own_paths_pass_the_same_strict_head_and_their_own_limit() -> None:
    gateway = gateway_with(table_of(), limits=Limits(sweep_s=0.02, own_body_bytes=10))
    async with serving(gateway, APP) as port:
        async with talking(port) as talk:
            assert (await talk.ask(b"GET /turnback/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")).status == 400
        async with talking(port) as talk:
            assert (await talk.ask(post(b"x" * 11, "/turnback/a"))).status == 413
        async with talking(port) as talk:
            chunked = get("/turnback/a", "transfer-encoding: chunked", method="POST")
            assert (await talk.ask(chunked + b"b\r\nhello world\r\n")).status == 413


@pytest.mark.parametrize(
    "path",
    [
        "/turnback/../v1", "/turnback/./a", "/turnback/a/..", "/turnback/%2e%2e/a", "/turnback/a%2fb",
        "/turnback/a%5Cb", "/turnback/a%00", "/turnback/%61", "/turnback/a;b", "/turnback//a", "/turnback/a//",
        "/turnback/a\\b", "/turnback/a?b#c",
    ],
)  # fmt: skip
async def test_an_own_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    async with serving(gateway_with(table_of()), APP) as port, talking(port) as talk:
        answer = await talk.ask(get(path))
        assert (answer.status, answer.problem()["fault"]) == (400, "client")
        assert await talk.is_closed()


@pytest.mark.parametrize("path", ["/turnback/", "/turnback/a", "/turnback/v1/a.b_c~d-e:f@g/", "/turnback/a?b=%2f..;//"])
async def test_a_plain_own_path_is_served_whatever_its_query(path: str) -> None:
    async with serving(gateway_with(table_of()), APP) as port, talking(port) as talk:
        assert (await talk.ask(get(path))).status == 200


async def test_an_own_path_is_not_reached_in_disguise() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, match=Match(path_prefix="/"))))
        for path in ("/m/fraud/../../turnback/a", "/x/%2e%2E/turnback/a"):
            async with serving(gateway, APP) as port, talking(port) as talk:
                assert (await talk.ask(get(path))).status == 400
        async with serving(gateway, APP) as port, talking(port) as talk:
            assert (await talk.ask(get("/%74urnback/a"))).body == b"ok"
        assert server.received[0].line == b"GET /%74urnback/a HTTP/1.1"


async def test_an_own_path_answers_expect_100_continue() -> None:
    async with serving(gateway_with(table_of()), APP) as port, talking(port) as talk:
        await talk.send(get("/turnback/a", "Expect: 100-continue", "content-length: 2", method="POST"))
        assert (await talk.head()) == (100, [])
        assert b'"body":"hi"' in (await talk.ask(b"hi")).body


async def test_the_constructor_takes_what_uvicorn_hands_to_an_http_protocol() -> None:
    """Pins the contract with uvicorn: keyword names, `connections`, `shutdown`."""
    gateway = gateway_with(table_of())
    config = configured(gateway)
    config.load()
    assert config.http_protocol_class == gateway.protocol
    state = ServerState()
    keywords = {"config": config, "server_state": state, "app_state": {}, "_loop": asyncio.get_running_loop()}
    HttpToolsProtocol(**keywords)  # type: ignore[arg-type]  # what uvicorn's own class takes
    connection = gateway.protocol(**keywords)
    assert isinstance(connection, ClientConnection)
    assert callable(connection.shutdown)
    gateway.close()


async def test_uvicorns_server_serves_exchanges_and_stops_after_the_last_one() -> None:
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await go.wait()
        await conversation.send(ok(b"late"))

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with (
            serving_with_uvicorn(gateway) as (uvicorn_server, port),
            talking(port) as idle,
            talking(port) as busy,
        ):
            await busy.send(post())
            await eventually(lambda: server.open)
            gateway.drain()
            uvicorn_server.should_exit = True
            assert await idle.is_closed()
            go.set()
            answer = await busy.answer()
            assert (answer.body, answer.field("connection")) == (b"late", "close")
            assert await busy.is_closed()


async def test_close_cuts_what_is_left() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway: Gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(post())
            await eventually(lambda: server.open)
            gateway.close()
            await server.quiet()
            assert await talk.is_closed()
            assert not gateway.port.clients
