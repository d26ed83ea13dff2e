"""LitServe: chat completions, plain and streamed, as a real server of the OpenAI API sends them."""

from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking
from servers.comparing import both, connections_to, counted, observed, probed, relayed
from servers.peers import LITSERVE, OPENAI, Running, ask, running

from app.domain.catalog.models import Match, Protocol
from app.domain.catalog.routing import RoutingTable
from app.domain.evidence.tally import Counter, Outcome

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

PATH = "/v1/chat/completions"
NOWHERE = "http://127.0.0.1:9"
MADE_ANEW = rb'"id":"chatcmpl-[0-9a-f]+"|"created":\d+'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(LITSERVE, tmp_path_factory.mktemp("litserve")) as started:
        yield started


def chat(said: str, *, stream: bool = False) -> bytes:
    body = {"model": "echo", "stream": stream, "messages": [{"role": "user", "content": said}]}
    return post(orjson.dumps(body), PATH, "content-type: application/json")


def table(server: Running) -> RoutingTable:
    return table_of(routed({"v1": server.url}, name="echo", match=Match(path_prefix="/v1/chat")))


async def test_a_completion_comes_as_the_server_sent_it(server: Running) -> None:
    answer = await relayed(server.port, table(server), chat("to be or not"), 200, but_for=MADE_ANEW)
    assert orjson.loads(answer.body)["choices"][0]["message"]["content"] == "to be or not "


async def test_a_stream_comes_whole_and_ends_with_done(server: Running) -> None:
    answer = await relayed(server.port, table(server), chat("to be or not", stream=True), 200, but_for=MADE_ANEW)
    assert answer.field("content-type") == "text/event-stream; charset=utf-8"
    assert answer.body.count(b"data: {") == 5
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_pieces_of_a_stream_arrive_before_it_ends(server: Running) -> None:
    async with serving(gateway_with(table(server))) as port, talking(port) as talk:
        await talk.send(chat("lengthy tale", stream=True))
        status, _ = await talk.head()
        arrived = b""
        while arrived.count(b"and on") < 3:
            arrived += await talk.chunk()
        assert status == 200
        assert b"tale" not in arrived
        assert b"[DONE]" not in arrived
        assert (await talk.chunks()).endswith(b"data: [DONE]\n\n")


async def test_a_client_that_leaves_a_stream_takes_the_upstream_connection_with_it(server: Running) -> None:
    gateway = gateway_with(table(server))
    async with serving(gateway) as port:
        async with talking(port) as talk:
            await talk.send(chat("lengthy", stream=True))
            await talk.head()
            await talk.chunk()
            await eventually(lambda: connections_to(server.port) == 1)
        await eventually(lambda: connections_to(server.port) == 0)
        assert outcomes(gateway) == {"v1": {Outcome.CANCELLED: 1}}


async def test_an_error_of_the_model_comes_as_the_server_sent_it(server: Running) -> None:
    answer = await relayed(server.port, table(server), chat("then fail"), 500, but_for=MADE_ANEW)
    assert answer.body == b'{"detail":"Internal Server Error"}'


async def test_an_error_within_a_stream_comes_as_the_server_sent_it_and_counts_as_one(server: Running) -> None:
    gateway = gateway_with(table(server))
    async with serving(gateway) as port:
        answer = (await both(server.port, port, chat("then fail", stream=True))).same(but_for=MADE_ANEW)
    assert answer.status == 200
    assert b'data: {"error": ' in answer.body
    assert outcomes(gateway) == {"v1": {Outcome.UPSTREAM_ERROR: 1}}


async def test_a_body_the_server_refuses_is_the_clients_error(server: Running) -> None:
    await relayed(server.port, table(server), post(b'{"model":', PATH, "content-type: application/json"), 422)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_body_names_the_model(server: Running, stream: bool) -> None:
    named = table_of(routed({"v1": server.url}, name="echo"), routed({"v1": NOWHERE}, name="another"))
    await relayed(server.port, named, chat("to be or not", stream=stream), 200, but_for=MADE_ANEW)


async def test_a_model_nobody_registered_is_the_gateways_own_404(server: Running) -> None:
    other = table_of(routed({"v1": server.url}, name="another"))
    async with serving(gateway_with(other)) as port, talking(port) as talk:
        answer = await talk.ask(chat("to be or not"))
    assert (answer.status, answer.problem()["fault"]) == (404, "client")


async def test_a_version_may_know_the_model_by_another_name(server: Running) -> None:
    known = routed({"v1": server.url}, name="echo")
    renamed = replace(known, versions=tuple(replace(each, served_model='llama "7b"') for each in known.versions))
    async with serving(gateway_with(table_of(renamed))) as port, talking(port) as talk:
        answer = await talk.ask(chat("to be or not"))
    assert answer.status == 200
    assert orjson.loads(answer.body)["model"] == 'llama "7b"'


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_are_counted_as_the_server_reports_them(server: Running, stream: bool) -> None:
    table = table_of(observed(routed({"v1": server.url}, name="echo")))
    counters = await counted(table, chat("to be or not", stream=stream))
    # In a stream, LitServe reports the last piece's usage alone.
    pieces = 1 if stream else 4
    assert counters == {Counter.READ: 1, Counter.PROMPT_TOKENS: 3 * pieces, Counter.COMPLETION_TOKENS: pieces}


async def test_the_protocols_own_probe_finds_it_ready(server: Running) -> None:
    assert await probed(server.port, Protocol.OPENAI, "echo") == 200


async def test_other_paths_of_the_server_are_reached_under_the_models_name(server: Running) -> None:
    async with serving(gateway_with(table(server))) as port, talking(port) as talk:
        health = await talk.ask(get("/m/echo/health"))
        info = await talk.ask(get("/m/echo/info"))
    assert (health.status, health.body) == (200, b"ok")
    assert orjson.loads(info.body)["server"]["devices"]


async def test_the_official_client_needs_only_another_base_url(server: Running) -> None:
    gateway = gateway_with(table_of(routed({"v1": server.url}, name="echo")))
    async with serving(gateway) as port:
        answer = await ask(OPENAI, "--base-url", f"http://127.0.0.1:{port}/v1", "--model", "echo")
    assert answer == {
        "version": "v1",
        "model": "echo",
        "content": "to be or not to be ",
        "tokens": 24,
        "streamed": "to be or not to be ",
        "chunks": 7,
        "finish_reason": "stop",
        "error": "InternalServerError 500",
    }
    assert outcomes(gateway) == {"v1": {Outcome.OK: 2, Outcome.UPSTREAM_ERROR: 1}}
