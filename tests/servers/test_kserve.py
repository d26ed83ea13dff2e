"""KServe's SDK: its v1 and v2 protocols, binary tensors, streams; two copies behind one model."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import orjson
import pytest
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking
from servers.comparing import connections_to, counters_of, observed, probed, relayed, settled
from servers.peers import KSERVE, TRITONCLIENT, Running, ask, running

from app.domain.catalog.models import Protocol, VersionName
from app.domain.catalog.routing import FULL_BP, Mirror, RoutingTable
from app.domain.evidence.tally import Counter, Outcome

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

JSON = "content-type: application/json"
PREDICT = "/v1/models/double:predict"
INFER = "/v2/models/double/infer"
TENSOR = {"name": "x", "shape": [2], "datatype": "FP32"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(KSERVE, tmp_path_factory.mktemp("kserve")) as started:
        yield started


@pytest.fixture(scope="module")
def canary(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(KSERVE, tmp_path_factory.mktemp("kserve-canary"), "--bias", "100") as started:
        yield started


def table(server: Running) -> RoutingTable:
    return table_of(*(routed({"v1": server.url}, name=name) for name in ("double", "story", "absent")))


def story(*words: str) -> bytes:
    return post(orjson.dumps({"instances": words}), "/v1/models/story:predict", JSON)


def binary_request() -> bytes:
    """The tensor 1, 2 as bytes after a JSON head, and the answer asked for in the same form."""
    tensor = TENSOR | {"parameters": {"binary_data_size": 8}}
    wanted = {"name": "doubled", "parameters": {"binary_data": True}}
    head = orjson.dumps({"id": "7", "inputs": [tensor], "outputs": [wanted]})
    fields = (f"inference-header-content-length: {len(head)}", "content-type: application/octet-stream")
    return post(head + struct.pack("<2f", 1, 2), INFER, *fields)


REQUESTS = {
    "v1 predict": (post(b'{"instances":[[1,2]]}', PREDICT, JSON), 200),
    "v1 predict of a wrong type": (post(b'{"instances":7}', PREDICT, JSON), 400),
    "v1 predict that fails": (post(b'{"instances":[7]}', PREDICT, JSON), 500),
    "v1 predict of another content type": (post(b'{"instances":[[1,2]]}', PREDICT, "content-type: text/plain"), 500),
    "v1 predict of broken JSON": (post(b'{"instances":', PREDICT, JSON), 400),
    "v1 ready": (get("/v1/models/double"), 200),
    "v1 unknown model": (post(b"{}", "/v1/models/absent:predict", JSON), 404),
    "v2 infer": (post(orjson.dumps({"id": "7", "inputs": [TENSOR | {"data": [1, 2]}]}), INFER, JSON), 200),
    "v2 infer of nothing": (post(b"{}", INFER, JSON), 422),
    "v2 infer in binary": (binary_request(), 200),
    "v2 metadata": (get("/v2/models/double"), 200),
    "v2 ready": (get("/v2/models/double/ready"), 200),
    "v2 unknown model": (get("/v2/models/absent"), 404),
    "v2 version": (get("/v2/models/double/versions/1"), 501),
    "a path it has not": (get("/m/double/no/such/path"), 404),
    "server metadata": (get("/m/double/v2"), 200),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_every_answer_comes_as_the_server_sent_it(server: Running, case: str) -> None:
    request, status = REQUESTS[case]
    await relayed(server.port, table(server), request, status)


@pytest.mark.parametrize("protocol", [Protocol.KSERVE_V1, Protocol.OIP_V2])
async def test_the_protocols_own_probe_finds_it_ready(server: Running, protocol: Protocol) -> None:
    assert await probed(server.port, protocol, "double") == 200


async def test_a_binary_tensor_follows_a_head_of_the_declared_length(server: Running) -> None:
    answer = await relayed(server.port, table(server), binary_request(), 200)
    head = int(answer.field("inference-header-content-length") or 0)
    assert orjson.loads(answer.body[:head])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<2f", answer.body[head:]) == (2.0, 4.0)


async def test_a_request_in_chunks_is_understood(server: Running) -> None:
    head = get(PREDICT, JSON, "transfer-encoding: chunked", method="POST")
    request = head + b'8\r\n{"instan\r\nd\r\nces":[[1,2]]}\r\n0\r\n\r\n'
    answer = await relayed(server.port, table(server), request, 200)
    assert answer.body == b'{"predictions":[[2.0,4.0]]}'


async def test_a_stream_in_chunks_comes_whole(server: Running) -> None:
    answer = await relayed(server.port, table(server), story("once", "upon", "a", "time"), 200)
    assert answer.body == b"once\nupon\na\ntime\n"
    assert answer.field("content-length") is None


async def test_a_client_that_leaves_a_stream_stops_its_making(server: Running) -> None:
    async def made() -> int:
        async with talking(server.port) as direct:
            return int(orjson.loads((await direct.ask(story("count"))).body)["predictions"][0])

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
    gateway = gateway_with(table(server))
    async with serving(gateway) as port:
        words = ("--model", "double", "--input", "x", "--output", "doubled")
        direct, answer = [await ask(TRITONCLIENT, "--url", f"127.0.0.1:{each}", *words) for each in (server.port, port)]
    assert answer == direct
    assert "inference-header-content-length" in answer.pop("refused")
    assert answer == {"ready": True, "name": "double", "binary": [2, 4, 6, 8], "json": [2, 4, 6, 8]}


async def test_two_copies_share_the_traffic_as_the_coin_falls(server: Running, canary: Running) -> None:
    urls = {"v1": server.url, "v2": canary.url}
    model = routed(urls, {"v1": 5_000, "v2": 5_000}, name="double")
    gateway = gateway_with(table_of(model), coin=cycle((0.2, 0.8)).__next__)
    answered = []
    async with serving(gateway) as port, talking(port) as talk:
        for _ in range(6):
            answer = await talk.ask(post(b'{"instances":[[1]]}', PREDICT, JSON))
            answered.append((answer.field("x-turnback-version"), answer.body))
    assert answered == 3 * [("v1", b'{"predictions":[[2.0]]}'), ("v2", b'{"predictions":[[102.0]]}')]
    assert outcomes(gateway) == {"v1": {Outcome.OK: 3}, "v2": {Outcome.OK: 3}}


@pytest.mark.parametrize(
    ("mirrored", "verdict"), [("same", Counter.MIRROR_AGREED), ("canary", Counter.MIRROR_DIFFERED)]
)
async def test_a_mirror_is_compared_by_its_predictions(
    server: Running, canary: Running, mirrored: str, verdict: Counter
) -> None:
    urls = {"v1": server.url, "v2": server.url if mirrored == "same" else canary.url}
    known = observed(routed(urls, name="double"))
    copied = replace(known, route=replace(known.route, mirror=Mirror(VersionName("v2"), FULL_BP)))
    gateway = gateway_with(table_of(copied))
    async with serving(gateway) as port, talking(port) as talk:
        answer = await talk.ask(post(b'{"instances":[[1,2]]}', PREDICT, JSON))
        await eventually(lambda: verdict in counters_of(gateway))
    assert (answer.field("x-turnback-version"), answer.body) == ("v1", b'{"predictions":[[2.0,4.0]]}')
    assert counters_of(gateway)[Counter.MIRROR_PAIRS] == 1
