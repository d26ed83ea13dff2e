"""Upstreams that refuse, stall, lie or break off."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.catalog.models import Timeouts
from app.domain.evidence.tally import Outcome

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n"
SHORT = Timeouts(connect_s=0.1, first_byte_s=0.1, idle_s=0.1, total_s=0.3)


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a port that is bound but refuses every connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def unanswering() -> Iterator[str]:
    """The URL of a listener whose queue is full, so that a connection is neither made nor refused."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


async def test_a_refusing_upstream_is_a_502_at_the_upstreams_fault() -> None:
    with refusing() as url:
        gateway = gateway_with(table_of(routed({"v1": url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                answer = await talk.ask(post())
                assert answer.status == 502
                problem = answer.problem()
                assert (problem["fault"], problem["type"].rpartition(":")[2]) == ("upstream", "UpstreamRefused")
                assert url[7:] not in answer.body.decode()
        assert outcomes(gateway) == {"v1": {Outcome.CONNECT_ERROR: 2}}


async def test_an_upstream_that_does_not_take_connections_is_a_504() -> None:
    with unanswering() as url:
        gateway = gateway_with(table_of(routed({"v1": url}, timeouts=SHORT)))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).status == 504
        assert outcomes(gateway) == {"v1": {Outcome.TIMEOUT: 1}}


async def test_a_silent_upstream_is_a_504_and_is_let_go() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, timeouts=SHORT)))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(post())
            assert (answer.status, answer.problem()["fault"]) == (504, "upstream")
            await server.quiet()
            assert (await talk.ask(get("/nowhere"))).status == 404
        assert outcomes(gateway) == {"v1": {Outcome.TIMEOUT: 1}}


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 000 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + ok(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 100 Continue\r\nx: a\nb\r\n\r\n" + ok(),
        b"HTTP/1.1 200 OK\r\ncontent.length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nconnection: a b\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nset-cookie: a\rset-cookie: b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ],
)
async def test_garbage_is_a_502_and_the_next_request_is_served_clean(garbage: bytes) -> None:
    async def script(conversation: Conversation) -> None:
        request = await conversation.request()
        await conversation.send(ok(b"clean") if b"/clean" in request.line else garbage)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get("/m/fraud/garbage"))
            assert (answer.status, answer.problem()["fault"]) == (502, "upstream")
            assert (await talk.ask(get("/m/fraud/clean"))).body == b"clean"
        assert outcomes(gateway) == {"v1": {Outcome.UPSTREAM_ERROR: 1, Outcome.OK: 1}}


@pytest.mark.parametrize(
    ("head", "broken_body"),
    [
        ("content-length: 100", b"short"),
        ("transfer-encoding: chunked", b"5\r\nhello\r\n"),
        ("transfer-encoding: chunked", b"5\r\nhel"),
        ("transfer-encoding: chunked", b"5\r\nhello\r\nzz\r\n"),
    ],
)
async def test_an_answer_that_breaks_off_is_cut_and_never_ended(head: str, broken_body: bytes) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        await asyncio.sleep(0.02)
        await conversation.send(broken_body)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await talk.ask(post())
        assert outcomes(gateway) == {"v1": {Outcome.UPSTREAM_ERROR: 1}}


async def test_a_body_until_close_that_is_reset_is_reset_for_an_old_client_too() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await asyncio.sleep(0.02)
        raw = conversation.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conversation.writer.transport.abort()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, timeouts=SHORT)))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(b"GET /m/fraud HTTP/1.0\r\n\r\n")
            await talk.head()
            with pytest.raises(ConnectionError):
                await talk.reader.read()
        assert outcomes(gateway) == {"v1": {Outcome.UPSTREAM_ERROR: 1}}


@pytest.mark.parametrize("head", ["content-length: 100", "transfer-encoding: chunked"])
async def test_a_stream_that_goes_silent_is_cut_after_the_idle_time(head: str) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n".encode())
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, timeouts=SHORT)))
        async with serving(gateway) as port, talking(port) as talk:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await talk.ask(post())
            await server.quiet()
        assert outcomes(gateway) == {"v1": {Outcome.TIMEOUT: 1}}


async def test_a_stream_that_never_ends_is_cut_after_the_total_time() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await conversation.send(b"1\r\nx\r\n")
            await asyncio.sleep(0.02)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, timeouts=SHORT)))
        async with serving(gateway) as port, talking(port) as talk:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await talk.ask(post())
        assert outcomes(gateway) == {"v1": {Outcome.TIMEOUT: 1}}


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON", b"\r\n", b"x"])
@pytest.mark.parametrize(
    "framed", [ok(b"mine"), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("pause_s", [0.0, 0.02])
async def test_surplus_bytes_never_reach_anybody(framed: bytes, surplus: bytes, pause_s: float) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if pause_s:
            await conversation.send(framed)
            await asyncio.sleep(pause_s)
            await conversation.send(surplus)
        else:
            await conversation.send(framed + surplus)
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                answer = await talk.ask(get())
                # llhttp may refuse both when they come in one read; then nothing of it is believed.
                assert answer.body == b"mine" or answer.status == 502
                await asyncio.sleep(pause_s * 2)
        assert server.connections == 3


async def test_surplus_behind_a_body_that_came_in_pieces_is_cut_off() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmi")
        await asyncio.sleep(0.02)
        await conversation.send(b"neHTTP/1.1 200 OK\r\n")
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                assert (await talk.ask(get())).body == b"mine"
        assert server.connections == 2


async def test_a_stale_connection_is_replaced_once_without_the_client_noticing() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(ok())
        await conversation.head()  # takes the next request, and goes without a byte

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(4):
                assert (await talk.ask(post())).status == 200
        assert server.connections == 4
        assert outcomes(gateway) == {"v1": {Outcome.OK: 4}}
        (version,) = gateway.recorder.since_start().versions
        assert version.retries == 3


async def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(post())
            assert (answer.status, answer.problem()["type"].rpartition(":")[2]) == (502, "UpstreamBroke")
        assert server.connections == 1


async def test_a_stale_connection_is_not_replaced_when_the_body_is_no_longer_held() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(ok())
        await conversation.request()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).status == 200
            assert (await talk.ask(post(bytes(200_000)))).status == 502
        assert server.connections == 1


@pytest.mark.parametrize("body", [b"", b"hello", bytes(300_000)])
async def test_a_canary_that_refuses_is_counted_and_stable_answers(body: bytes) -> None:
    async with upstream(ok(b"stable")) as server:
        with refusing() as url:
            table = table_of(routed({"v1": server.url, "v2": url}, {"v1": 0, "v2": 10_000}))
            gateway = gateway_with(table)
            async with serving(gateway) as port, talking(port) as talk:
                answer = await talk.ask(post(body))
                assert (answer.body, answer.field("x-turnback-version")) == (b"stable", "v1")
        assert server.received[0].body == body
        rows = {str(row.key.version): row.tally for row in gateway.recorder.collect().rows}
        assert rows["v2"].outcomes == {Outcome.CONNECT_ERROR: 1}
        assert rows["v2"].exchanges == sum(rows["v2"].latency_bins.values()) == 1
        assert (rows["v1"].exchanges, rows["v1"].excluded, rows["v1"].outcomes) == (0, 1, {})
        totals = {str(version.version): version for version in gateway.recorder.since_start().versions}
        assert totals["v2"].fallbacks == 1


async def test_a_canary_that_answered_nothing_but_was_reached_is_not_retried_on_stable() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()

    async with upstream() as stable, upstream(script=script) as canary:
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, {"v1": 0, "v2": 10_000}))
        gateway = gateway_with(table)
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).status == 502
        assert stable.connections == 0
        assert outcomes(gateway) == {"v2": {Outcome.UPSTREAM_ERROR: 1}}


async def test_an_upstream_that_comes_back_is_used_again() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).status == 200
            await server.stop()
            assert (await talk.ask(post())).status == 502
            await server.start()
            assert (await talk.ask(post())).status == 200
