"""BentoML: any path is an API, errors of its own form, streams that call themselves events and are not."""

from collections.abc import Iterator

import orjson
import pytest
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking
from servers.comparing import connections_to, probed, relayed, settled
from servers.peers import BENTOML, Running, running

from app.domain.catalog.models import Protocol
from app.domain.catalog.routing import RoutingTable
from app.domain.evidence.tally import Outcome

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

JSON = "content-type: application/json"
SUM = b'{"left":1,"right":2}'
MADE_ANEW = rb"x-bentoml-request-id: [0-9a-f]+"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(BENTOML, tmp_path_factory.mktemp("bentoml")) as started:
        yield started


def table(server: Running) -> RoutingTable:
    return table_of(routed({"v1": server.url}, name="adder"))


def story(*words: str) -> bytes:
    return post(orjson.dumps({"words": words}), "/m/adder/tell", JSON)


ASKED = {
    "call": (post(SUM, "/m/adder/add", JSON), 200),
    "call without a content type": (post(SUM, "/m/adder/add"), 200),
    "call with too little": (post(b'{"left":1}', "/m/adder/add", JSON), 400),
    "call with broken JSON": (post(b'{"left":', "/m/adder/add", JSON), 400),
    "call by GET": (get("/m/adder/add"), 405),
    "no such API": (post(b"{}", "/m/adder/nonsense", JSON), 404),
    "live": (get("/m/adder/livez"), 200),
    "ready": (get("/m/adder/readyz"), 200),
    "schema": (get("/m/adder/schema.json"), 200),
    "its API's document": (get("/m/adder/docs.json"), 200),
}


@pytest.mark.parametrize("case", ASKED)
async def test_every_answer_comes_as_the_server_sent_it(server: Running, case: str) -> None:
    request, status = ASKED[case]
    await relayed(server.port, table(server), request, status, but_for=MADE_ANEW)


async def test_the_protocols_own_probe_finds_it_ready(server: Running) -> None:
    assert await probed(server.port, Protocol.BENTOML, "adder") == 200


async def test_a_result_is_the_services(server: Running) -> None:
    answer = await relayed(server.port, table(server), post(SUM, "/m/adder/add", JSON), 200, but_for=MADE_ANEW)
    assert orjson.loads(answer.body) == {"sum": 3}


async def test_a_stream_that_only_calls_itself_events_comes_whole(server: Running) -> None:
    answer = await relayed(server.port, table(server), story("once", "upon", "a", "time"), 200, but_for=MADE_ANEW)
    assert answer.body == b"once upon a time "
    assert answer.field("content-type") == "text/event-stream; charset=utf-8"


async def test_a_client_that_leaves_a_stream_stops_its_making(server: Running) -> None:
    async def made() -> int:
        async with talking(server.port) as direct:
            return int((await direct.ask(post(b"{}", "/count", JSON))).body)

    gateway = gateway_with(table(server))
    async with serving(gateway) as port:
        async with talking(port) as talk:
            before = await made()
            await talk.send(story("endless"))
            await talk.head()
            for _ in range(5):
                await talk.chunk()
            assert await made() > before
        await eventually(lambda: connections_to(server.port) == 0)
        assert outcomes(gateway) == {"v1": {Outcome.CANCELLED: 1}}
    await settled(made)
