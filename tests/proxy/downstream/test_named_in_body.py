"""Requests whose body names the model: held whole, routed, and passed on by length, byte for byte."""

import asyncio
from dataclasses import replace

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.catalog.models import Match
from app.domain.catalog.routing import RoutedModel
from app.proxy import Limits
from app.proxy.http1.request_head import RequestHead

BODY = b'{"messages": [{"role": "user", "content": "hi"}],  "model" : "fraud", "stream":false}'
CHAT = "/v1/chat/completions"
PATHS = [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"]


def chunked(body: bytes, path: str = CHAT) -> bytes:
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
    return get(path, "transfer-encoding: chunked", method="POST") + parts + b"0\r\nx-trailer: 1\r\n\r\n"


@pytest.mark.parametrize("path", [*PATHS, CHAT + "?api-version=1"])
async def test_the_model_in_the_body_gets_the_request_as_it_came(path: str) -> None:
    async with upstream() as server, upstream() as other:
        table = table_of(routed({"v1": server.url}), routed({"v1": other.url}, name="other"))
        async with serving(gateway_with(table)) as port, talking(port) as talk:
            for _ in range(2):
                assert (await talk.ask(post(BODY, path))).status == 200
        assert [received.body for received in server.received] == [BODY, BODY]
        assert server.received[0].line == b"POST " + path.encode() + b" HTTP/1.1"
        assert other.received == []


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize("raw", [post(BODY, CHAT), chunked(BODY)])
async def test_a_body_is_held_until_it_is_whole_and_goes_on_by_length(raw: bytes, step: int) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for start in range(0, len(raw), step):
                await talk.send(raw[start : start + step])
                await asyncio.sleep(0)
            assert (await talk.answer()).status == 200
            assert (await talk.ask(get())).status == 200
        received = server.received[0]
        assert received.body == BODY
        assert received.field("content-length") == b"%d" % len(BODY)
        assert received.field("transfer-encoding") is None
        assert gateway.port.collected.held == 0


async def test_pipelined_requests_with_a_model_in_the_body_are_answered_in_order() -> None:
    async with upstream(ok(b"a")) as a, upstream(ok(b"b")) as b:
        table = table_of(routed({"v1": a.url}, name="a"), routed({"v1": b.url}, name="b"))
        async with serving(gateway_with(table)) as port, talking(port) as talk:
            for_a, for_b = BODY.replace(b"fraud", b"a"), BODY.replace(b"fraud", b"b")
            await talk.send(
                post(for_a, CHAT) + chunked(for_b) + post(for_a, CHAT) + post(b"[]", CHAT) + post(for_b, CHAT)
            )
            assert [(await talk.answer()).body for _ in range(3)] == [b"a", b"b", b"a"]
            assert (await talk.answer()).status == 400
            assert await talk.is_closed()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (BODY.replace(b'"fraud"', b'"nobody"'), 404, "UnknownModel"),
        (BODY.replace(b'"fraud"', '"\u00e9\\u0000\\r\\n"'.encode()), 404, "UnknownModel"),
        (b"", 400, "ModelNotNamed"),
        (b"\x1f\x8b\x08\x00", 400, "ModelNotNamed"),
        (b'{"model":"fraud","model":"other"}', 400, "ModelNotNamed"),
        (b'{"messages":[]}', 400, "ModelNotNamed"),
        (b'{"model":"fraud","x":"' + b"y" * 1_000 + b'"}', 413, "BodyTooLarge"),
    ],
)
async def test_a_body_that_leads_nowhere_is_a_problem(body: bytes, status: int, code: str) -> None:
    async with upstream() as server:
        limits = Limits(sweep_s=0.02, routed_body_bytes=1_000)
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=limits)
        async with serving(gateway) as port:
            for raw in (post(body, CHAT), chunked(body)):
                async with talking(port) as talk:
                    answer = await talk.ask(raw)
                    assert (answer.status, answer.problem()["type"]) == (status, f"urn:turnback:problem:{code}")
            await eventually(lambda: not gateway.port.collected.held)
        assert server.received == []


@pytest.mark.parametrize(
    "raw", [get(CHAT), get(CHAT, method="DELETE"), post(BODY, CHAT + "/x"), post(BODY, "/v1/chat")]
)
async def test_other_methods_and_paths_are_not_read_for_a_model(raw: bytes) -> None:
    async with upstream() as server:
        async with serving(gateway_with(table_of(routed({"v1": server.url})))) as port, talking(port) as talk:
            assert (await talk.ask(raw)).problem()["type"].endswith(":UnknownPath")
        assert server.received == []


@pytest.mark.parametrize(("prefix", "path"), [("/", CHAT), ("/llm", "/llm" + CHAT)])
async def test_a_models_own_prefix_is_stronger_than_the_body(prefix: str, path: str) -> None:
    async with upstream() as server:
        table = table_of(routed({"v1": server.url}, match=Match(path_prefix=prefix)))
        async with serving(gateway_with(table)) as port, talking(port) as talk:
            assert (await talk.ask(post(b"not JSON", path))).status == 200


def test_a_head_carried_over_to_another_length_says_all_it_said() -> None:
    raw = get(
        CHAT, "transfer-encoding: chunked", "x-request-id: r", "x-turnback-model: m", "x-turnback-force-version: v",
        "x-turnback-override-key: k", "x-forwarded-for: a", "expect: 100-continue", "connection: close", method="POST",
    ).removesuffix(b"\r\n\r\n")  # fmt: skip
    chunked_one = RequestHead(raw, Limits())
    by_length = chunked_one.by_length(7)
    named = [
        name for name in dir(chunked_one) if not name.startswith("_") and name not in {"length", "lines", "crossing"}
    ]
    public = [name for name in named if not callable(getattr(chunked_one, name))]
    assert {name: getattr(by_length, name) for name in public} == {name: getattr(chunked_one, name) for name in public}
    assert (by_length.length, by_length.lines) == (7, [b"content-length: 7"])
    assert by_length.crossing == b"content-length: 7\r\nx-request-id: "
    assert by_length.by_length(7) is by_length


async def test_a_version_gets_the_name_it_wants_and_nothing_else_of_the_body_changes() -> None:
    async with upstream() as server:
        model = routed({"v1": server.url})
        served = RoutedModel(model.model, model.route, (replace(model.versions[0], served_model="fraud-2026"),))
        async with serving(gateway_with(table_of(served))) as port, talking(port) as talk:
            assert (await talk.ask(chunked(BODY))).status == 200
        received = server.received[0]
        assert received.body == BODY.replace(b'"fraud"', b'"fraud-2026"')
        assert received.field("content-length") == b"%d" % len(received.body)


async def test_an_expected_continue_is_given_for_a_body_that_is_held() -> None:
    async with (
        upstream() as server,
        serving(gateway_with(table_of(routed({"v1": server.url})))) as port,
        talking(port) as talk,
    ):
        await talk.send(get(CHAT, "Expect: 100-continue", f"content-length: {len(BODY)}", method="POST"))
        assert (await talk.head()) == (100, [])
        assert (await talk.ask(BODY)).status == 200


async def test_bodies_held_at_once_are_bounded_and_their_memory_comes_back() -> None:
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await go.wait()
            await conversation.send(ok(b"late"))

    async with upstream(script=script) as server:
        limits = Limits(sweep_s=0.02, collected_bytes=2 * len(BODY) + 10)
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=limits)
        async with serving(gateway) as port, talking(port) as one, talking(port) as two:
            await one.send(post(BODY, CHAT))
            await two.send(post(BODY, CHAT)[:-1])
            await eventually(lambda: gateway.port.collected.held == 2 * len(BODY) - 1)
            async with talking(port) as third:
                answer = await third.ask(post(BODY, CHAT))
                assert (answer.status, answer.field("retry-after")) == (503, "1")
                assert answer.problem()["fault"] == "gateway"
            two.writer.close()
            await eventually(lambda: gateway.port.collected.held == len(BODY))
            async with talking(port) as third:
                await third.send(post(BODY, CHAT))
                go.set()
                assert (await third.answer()).body == (await one.answer()).body == b"late"
            assert gateway.port.collected.held == 0
