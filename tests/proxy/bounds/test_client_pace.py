"""Clients that are too slow, too late or too many."""

import asyncio
import resource
import socket
from dataclasses import replace

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import Talk, get, post, talking

from app.domain.evidence.tally import Outcome
from app.proxy import Limits
from app.proxy.bounds.admission import Admission, Places, fitting_places
from app.proxy.bounds.client_pace import Pace
from app.proxy.downstream.listener import ClientConnection

CHAT = "/v1/chat/completions"
# Generous to a client that stands still, so that only its rate or the whole time can end it.
PATIENT = Limits(sweep_s=0.02, client_idle_s=0.3)


async def drip(talk: Talk, *, pause_s: float = 0.01) -> None:
    """Send a byte now and then until the other side has had enough."""
    while not talk.reader.at_eof():
        talk.writer.write(b" ")
        await asyncio.sleep(pause_s)


@pytest.mark.parametrize("path", ["/m/fraud", CHAT, "/turnback/v1/feedback"])
@pytest.mark.parametrize(
    "limits", [replace(PATIENT, body_bytes_s=100_000), replace(PATIENT, body_bytes_s=1, request_s=0.3)]
)
async def test_a_body_that_only_drips_is_a_408_whoever_it_is_for(path: str, limits: Limits) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=limits)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(get(path, "content-length: 100000", method="POST"))
            dripping = asyncio.create_task(drip(talk))
            answer = await talk.answer()
            dripping.cancel()
            assert (answer.status, answer.problem()["fault"]) == (408, "client")
            await server.quiet()
        assert outcomes(gateway).get("v1", {}) == ({Outcome.CANCELLED: 1} if path == "/m/fraud" else {})
        assert server.received == []


async def test_a_body_that_comes_fast_enough_may_stand_still_in_between() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=replace(PATIENT, body_bytes_s=100_000))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(get("/m/fraud", "content-length: 150000", method="POST"))
            for _ in range(5):
                await asyncio.sleep(0.15)
                await talk.send(bytes(30_000))
            assert (await talk.answer()).status == 200


async def test_an_upstream_that_does_not_read_is_not_held_against_the_client() -> None:
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await go.wait()
        await conversation.reader.readexactly(20_000_000)
        await conversation.send(ok(b"at last"))

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=replace(PATIENT, body_bytes_s=10**9))
        async with serving(gateway) as port, talking(port) as talk:
            sending = asyncio.create_task(
                talk.send(get("/m/fraud", "content-length: 20000000", method="POST") + bytes(20_000_000))
            )
            await eventually(lambda: any(is_held_back(client) for client in gateway.port.clients))
            await asyncio.sleep(0.5)
            assert not sending.done()
            go.set()
            assert (await talk.answer()).body == b"at last"
            await sending


async def endless(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
    while True:
        await conversation.send(bytes(65_536))


async def sip(port: int, bytes_s: int, seconds: float) -> int:
    """Ask, and read no faster than that; the bytes read before the connection ended or time was up."""
    loop = asyncio.get_running_loop()
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    taken = 0
    with raw:
        await loop.sock_connect(raw, ("127.0.0.1", port))
        await loop.sock_sendall(raw, get())
        end = loop.time() + seconds
        while loop.time() < end:
            data = await loop.sock_recv(raw, bytes_s // 50)
            if not data:
                break
            taken += len(data)
            await asyncio.sleep(0.02)
    return taken


async def test_an_answer_that_is_only_sipped_is_cut_and_not_held_against_the_version() -> None:
    async with upstream(script=endless) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=replace(PATIENT, answer_bytes_s=10**9))
        async with serving(gateway) as port:
            with pytest.raises(ConnectionError):
                await sip(port, 1_000_000, 10.0)
            await server.quiet()
        assert outcomes(gateway) == {"v1": {Outcome.CANCELLED: 1}}


async def test_an_answer_that_is_read_fast_enough_goes_on() -> None:
    async with upstream(script=endless) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=replace(PATIENT, answer_bytes_s=10_000))
        async with serving(gateway) as port:
            assert await sip(port, 1_000_000, 1.0) > 50_000


async def test_connections_beyond_the_cap_are_told_so_and_room_is_made_by_those_that_leave() -> None:
    async with upstream() as server:
        limits = Limits(sweep_s=0.02, connections=2)
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=limits)
        async with serving(gateway) as port, talking(port) as one:
            async with talking(port) as two:
                assert (await two.ask(get())).status == 200
                async with talking(port) as third:
                    answer = await third.answer()
                    assert (answer.status, answer.field("connection")) == (503, "close")
                    assert answer.problem()["type"].endswith(":TooManyConnections")
                    assert await third.is_closed()
                assert (await one.ask(get())).status == 200
            await eventually(lambda: len(gateway.port.clients) == 1)
            async with talking(port) as two:
                assert (await two.ask(get())).status == 200


async def test_one_address_is_capped_where_that_is_wanted() -> None:
    limits = Limits(sweep_s=0.02, connections_per_address=1)
    gateway = gateway_with(table_of(), limits=limits)
    async with serving(gateway, host="localhost") as port:
        async with talking(port) as one:
            assert (await one.ask(get())).status == 404
            async with talking(port) as two:
                assert (await two.answer()).status == 503
        await eventually(lambda: not gateway.port.clients)
        async with talking(port) as two:
            assert (await two.ask(get())).status == 404


def test_addresses_are_counted_apart_and_forgotten_when_they_leave() -> None:
    admission = Admission(Limits(connections=10, connections_per_address=2))
    assert [admission.refusal("a", 0), admission.refusal("a", 1), admission.refusal("b", 2)] == [None, None, None]
    assert "2 connections are served to one address" in (admission.refusal("a", 3) or "")
    admission.leave("a")
    assert admission.refusal("a", 2) is None
    assert "10 connections" in (admission.refusal("c", 10) or "")
    for address in ("a", "a", "b"):
        admission.leave(address)
    assert admission._open == {}


@pytest.mark.parametrize(
    ("descriptors", "fitting"),
    [
        (256, Places(64, 32, 32)),
        (1_024, Places(384, 160, 32)),
        (4_096, Places(1_872, 256, 32)),
        (64, Places(16, 4, 4)),
        (1_000_000, Places(65_536, 256, 32)),
    ],
)
def test_a_process_takes_no_more_connections_than_it_has_descriptors_for(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, fitting: Places
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    assert fitting_places() == fitting


def test_only_a_clients_own_turn_counts_and_what_it_moves_is_taken_off() -> None:
    pace = Pace()
    pace.look(10.0, 0, 100)
    pace.look(12.0, 100, 100)
    assert pace.behind_s == 1.0
    pace.rest()
    pace.look(50.0, 100, 100)
    assert pace.behind_s == 1.0
    pace.look(51.0, 10_000, 100)
    assert pace.behind_s == 0.0
    pace.look(54.0, 10_000, 100)
    assert pace.behind_s == 3.0
    pace.restart()
    pace.look(60.0, 10_000, 100)
    assert pace.behind_s == 0.0


async def test_a_pipelining_client_gets_each_body_its_own_time() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=replace(PATIENT, request_s=0.4))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                raw = post(b"hello")
                await talk.send(raw[:-1])
                await asyncio.sleep(0.2)
                assert (await talk.ask(raw[-1:])).status == 200


def is_held_back(client: object) -> bool:
    return isinstance(client, ClientConnection) and client.is_read_paused
