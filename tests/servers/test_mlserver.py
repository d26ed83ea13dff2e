"""MLServer with a scikit-learn model: the Open Inference Protocol, gzip, events."""

import gzip
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import orjson
import pytest
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking
from servers.comparing import connections_to, counted, observed, probed, relayed, settled
from servers.peers import MLSERVER, TRITONCLIENT, Running, ask, running

from app.domain.catalog.models import Protocol
from app.domain.catalog.routing import RoutingTable
from app.domain.evidence.tally import Counter, Outcome

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

JSON = "content-type: application/json"
INFER = "/v2/models/iris/infer"
SETOSA = [5.1, 3.5, 1.4, 0.2]
VIRGINICA = [6.2, 3.4, 5.4, 2.3]
MADE_ANEW = rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(MLSERVER, tmp_path_factory.mktemp("mlserver")) as started:
        yield started


def table(server: Running) -> RoutingTable:
    return table_of(*(routed({"v1": server.url}, name=name) for name in ("iris", "story", "absent")))


def flowers(*rows: list[float], **more: object) -> bytes:
    tensor = {"name": "x", "shape": [len(rows), 4], "datatype": "FP32", "data": list(chain.from_iterable(rows))}
    return orjson.dumps({"inputs": [tensor]} | more)


def story(*words: str, path: str = "/v2/models/story/infer_stream") -> bytes:
    tensor = {"name": "words", "shape": [len(words)], "datatype": "BYTES", "data": words}
    return post(orjson.dumps({"id": "7", "inputs": [tensor]}), path, JSON)


PROBABILITIES = {"outputs": [{"name": "predict_proba"}]}
REQUESTS = {
    "infer": (post(flowers(SETOSA, id="7"), INFER, JSON), 200),
    "infer without an id": (post(flowers(SETOSA), INFER, JSON), 200),
    "infer a version": (post(flowers(SETOSA, id="7"), "/v2/models/iris/versions/1/infer", JSON), 200),
    "infer without a content type": (post(flowers(SETOSA, id="7"), INFER), 200),
    "infer gzipped": (post(gzip.compress(flowers(SETOSA, id="7")), INFER, JSON, "content-encoding: gzip"), 200),
    "infer nothing": (post(b"{}", INFER, JSON), 422),
    "infer broken JSON": (post(b'{"inputs":', INFER, JSON), 422),
    "infer an output it has not": (post(flowers(SETOSA, outputs=[{"name": "nonsense"}]), INFER, JSON), 400),
    "infer rows of a wrong width": (post(flowers(SETOSA).replace(b"[1,4]", b"[2,2]"), INFER, JSON), 500),
    "metadata": (get("/v2/models/iris"), 200),
    "ready": (get("/v2/models/iris/ready"), 200),
    "version ready": (get("/v2/models/iris/versions/1/ready"), 200),
    "infer in binary, which it has not": (post(b"\xff\xfe", INFER, "inference-header-content-length: 1"), 422),
    "unknown model": (post(flowers(SETOSA), "/v2/models/absent/infer", JSON), 404),
    "unknown version": (get("/v2/models/iris/versions/9"), 404),
    "server ready": (get("/m/iris/v2/health/ready"), 200),
    "server metadata": (get("/m/iris/v2"), 200),
    "its API's document": (get("/v2/models/iris/docs/dataplane.json"), 200),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_every_answer_comes_as_the_server_sent_it(server: Running, case: str) -> None:
    request, status = REQUESTS[case]
    await relayed(server.port, table(server), request, status, but_for=MADE_ANEW)


async def test_the_protocols_own_probe_finds_it_ready(server: Running) -> None:
    assert await probed(server.port, Protocol.OIP_V2, "iris") == 200


async def test_a_prediction_is_the_models(server: Running) -> None:
    answer = await relayed(server.port, table(server), post(flowers(SETOSA, VIRGINICA, id="7"), INFER, JSON), 200)
    (output,) = orjson.loads(answer.body)["outputs"]
    assert (output["shape"], output["data"]) == ([2, 1], [0, 2])
    assert answer.field("ce-requestid") == "7"


async def test_a_version_of_the_gateway_may_be_a_version_of_the_server(server: Running) -> None:
    known = routed({"v1": server.url}, name="flowers")
    placed = replace(known, versions=tuple(replace(each, path="/v2/models/iris/versions/1") for each in known.versions))
    async with serving(gateway_with(table_of(placed))) as port, talking(port) as talk:
        answer = await talk.ask(post(flowers(VIRGINICA, id="7"), "/v2/models/flowers/infer", JSON))
    said = orjson.loads(answer.body)
    assert (said["model_name"], said["model_version"], said["outputs"][0]["data"]) == ("iris", "1", [2])


async def test_a_big_answer_is_zipped_when_the_client_takes_gzip(server: Running) -> None:
    body = flowers(*(20 * [SETOSA]), id="7", **PROBABILITIES)
    plain = await relayed(server.port, table(server), post(body, INFER, JSON), 200)
    zipped = await relayed(server.port, table(server), post(body, INFER, JSON, "accept-encoding: gzip"), 200)
    assert (plain.field("content-encoding"), zipped.field("content-encoding")) == (None, "gzip")
    assert len(zipped.body) < len(plain.body)
    assert gzip.decompress(zipped.body) == plain.body


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
async def test_a_prediction_is_read_zipped_or_not(server: Running, accepted: str) -> None:
    body = flowers(*(60 * [SETOSA]), id="7", **PROBABILITIES)
    table = table_of(observed(routed({"v1": server.url}, name="iris")))
    counters = await counted(table, post(body, INFER, JSON, f"accept-encoding: {accepted}"))
    assert counters == {Counter.READ: 1}


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
async def test_a_stream_of_events_comes_whole(server: Running, accepted: str) -> None:
    request = story("once", "upon", "a", "time").replace(b"\r\n", f"\r\naccept-encoding: {accepted}\r\n".encode(), 1)
    answer = await relayed(server.port, table(server), request, 200)
    assert answer.field("content-type") == "text/event-stream; charset=utf-8"
    events = answer.body.removesuffix(b"\n\n").split(b"\n\n")
    told = [orjson.loads(event.removeprefix(b"data: "))["outputs"][0]["data"] for event in events]
    assert told == [["once"], ["upon"], ["a"], ["time"]]


async def test_a_client_that_leaves_a_stream_stops_its_making(server: Running) -> None:
    async def made() -> int:
        async with talking(server.port) as direct:
            told = await direct.ask(story("how many", path="/v2/models/story/infer"))
        return int(orjson.loads(told.body)["outputs"][0]["data"][0])

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


async def test_the_official_client_needs_only_another_address(server: Running) -> None:
    async with serving(gateway_with(table(server))) as port:
        words = ("--model", "iris", "--input", "x", "--output", "predict", "--shape", "1", "4", "--json-only")
        direct, answer = [await ask(TRITONCLIENT, "--url", f"127.0.0.1:{each}", *words) for each in (server.port, port)]
    assert answer == direct
    assert (answer["ready"], answer["name"], answer["json"]) == (True, "iris", [2])
    assert answer["refused"]
