"""Triton, as pytriton brings it: binary tensors with both their lengths, strings, its own kind of errors."""

import struct
from collections.abc import Iterator, Mapping, Sequence

import orjson
import pytest
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking
from servers.comparing import both, counted, observed, probed, relayed
from servers.peers import PYTRITON, TRITONCLIENT, Running, ask, running

from app.domain.catalog.models import Protocol
from app.domain.catalog.routing import RoutingTable
from app.domain.evidence.tally import Counter, Outcome

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

INFER = "/v2/models/double/infer"
NUMBERS = {"name": "numbers", "shape": [2, 2], "datatype": "FP32"}
WORDS = {"name": "words", "shape": [2, 1], "datatype": "BYTES"}
BYTES = "content-type: application/octet-stream"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(PYTRITON, tmp_path_factory.mktemp("triton")) as started:
        yield started


def table(server: Running) -> RoutingTable:
    return table_of(*(routed({"v1": server.url}, name=name) for name in ("double", "shout", "spell", "absent")))


def binary(tensor: Mapping[str, object], payload: bytes, path: str = INFER) -> bytes:
    """A tensor as bytes after a JSON head; the answer is asked for in the same form."""
    sized = {**tensor, "parameters": {"binary_data_size": len(payload)}}
    head = orjson.dumps({"id": "7", "inputs": [sized], "parameters": {"binary_data_output": True}})
    return post(head + payload, path, f"inference-header-content-length: {len(head)}", BYTES)


def plain(tensor: Mapping[str, object], data: Sequence[object], path: str = INFER) -> bytes:
    return post(orjson.dumps({"id": "7", "inputs": [{**tensor, "data": data}]}), path)


def spell(word: str) -> bytes:
    return post(orjson.dumps({"word": word}), "/v2/models/spell/generate_stream")


ALL_BYTES = bytes(range(256))
REQUESTS = {
    "infer": (plain(NUMBERS, [1, 2, 3, 4]), 200),
    "infer in binary": (binary(NUMBERS, struct.pack("<4f", 1, 2, 3, 4)), 200),
    # Of what a client wrote wrongly, Triton blames itself for much: it counts against the version.
    "infer broken JSON": (post(b'{"inputs":', INFER), 500),
    "infer nothing": (post(b"{}", INFER, "inference-header-content-length: 2"), 500),
    "infer a version": (plain(NUMBERS, [1, 2, 3, 4], "/v2/models/double/versions/1/infer"), 200),
    "infer that fails": (plain(NUMBERS, [-1, 2, 3, 4]), 500),
    "infer of a wrong shape": (plain(NUMBERS, [1, 2]), 500),
    "infer an input it has not": (plain(NUMBERS | {"name": "nonsense"}, [1, 2, 3, 4]), 400),
    "metadata": (get("/v2/models/double"), 200),
    "config": (get("/v2/models/double/config"), 200),
    "ready": (get("/v2/models/double/ready"), 200),
    "statistics it does not give": (get("/v2/models/double/stats"), 403),
    "unknown model": (get("/v2/models/absent"), 404),
    "unknown model's readiness": (get("/v2/models/absent/ready"), 400),
    "server ready": (get("/m/double/v2/health/ready"), 200),
    "server metadata": (get("/m/double/v2"), 200),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_every_answer_comes_as_the_server_sent_it(server: Running, case: str) -> None:
    request, status = REQUESTS[case]
    await relayed(server.port, table(server), request, status)


async def test_the_protocols_own_probe_finds_it_ready(server: Running) -> None:
    assert await probed(server.port, Protocol.OIP_V2, "double") == 200


async def test_binary_tensors_keep_every_byte_and_both_their_lengths(server: Running) -> None:
    request = binary(NUMBERS, struct.pack("<4f", 1, 2, 3, float("inf")))
    answer = await relayed(server.port, table(server), request, 200)
    length = int(answer.field("inference-header-content-length") or 0)
    (output,) = orjson.loads(answer.body[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 16}
    assert struct.unpack("<4f", answer.body[length:]) == (2, 4, 6, float("inf"))
    assert answer.field("content-length") == str(length + 16)


async def test_strings_may_hold_any_byte(server: Running) -> None:
    words = b"".join(struct.pack("<I", len(word)) + word for word in (ALL_BYTES, b"\r\n\r\n0\r\n\r\n"))
    answer = await relayed(server.port, table(server), binary(WORDS, words, "/v2/models/shout/infer"), 200)
    payload = answer.body[int(answer.field("inference-header-content-length") or 0) :]
    assert payload[4:260] == ALL_BYTES.upper()


async def test_a_big_tensor_arrives_whole_in_both_directions(server: Running) -> None:
    numbers = struct.pack("<262144f", *range(262144))
    request = binary(NUMBERS | {"shape": [1, 262144]}, numbers)
    answer = await relayed(server.port, table(server), request, 200)
    assert struct.unpack("<262144f", answer.body[-len(numbers) :]) == tuple(2.0 * each for each in range(262144))


@pytest.mark.parametrize("last", [4.0, float("nan")])
async def test_a_prediction_in_binary_is_read(server: Running, last: float) -> None:
    table = table_of(observed(routed({"v1": server.url}, name="double")))
    counters = await counted(table, binary(NUMBERS, struct.pack("<4f", 1, 2, 3, last)))
    assert counters == {Counter.READ: 1} | ({} if last == 4 else {Counter.NONFINITE: 1})


async def test_a_stream_of_events_comes_whole(server: Running) -> None:
    answer = await relayed(server.port, table(server), spell("abc"), 200)
    events = answer.body.removesuffix(b"\n\n").split(b"\n\n")
    assert [orjson.loads(event.removeprefix(b"data: "))["letter"] for event in events] == ["a", "b", "c"]


async def test_an_error_within_a_stream_comes_as_the_server_sent_it_and_counts_as_one(server: Running) -> None:
    gateway = gateway_with(table(server))
    async with serving(gateway) as port:
        answer = (await both(server.port, port, spell("ab!c"))).same()
    assert answer.status == 200
    assert answer.body.count(b'data: {"letter"') == 2
    assert b'data: {"error"' in answer.body
    assert outcomes(gateway) == {"v1": {Outcome.UPSTREAM_ERROR: 1}}


async def test_an_error_before_the_first_event_is_a_400_of_triton(server: Running) -> None:
    """Although the model failed: what Triton says is what counts."""
    answer = await relayed(server.port, table(server), spell("!"), 400)
    assert answer.body.startswith(b'data: {"error"')


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready"])
async def test_a_path_that_names_no_model_is_the_gateways_own_404(server: Running, path: str) -> None:
    async with serving(gateway_with(table(server))) as port, talking(port) as talk:
        answer = await talk.ask(get(path))
    assert (answer.status, answer.problem()["fault"]) == (404, "client")


async def test_the_official_client_needs_only_another_address(server: Running) -> None:
    gateway = gateway_with(table(server))
    words = ("--model", "double", "--input", "numbers", "--output", "doubled")
    async with serving(gateway) as port:
        direct, answer = [await ask(TRITONCLIENT, "--url", f"127.0.0.1:{each}", *words) for each in (server.port, port)]
    assert answer == direct
    assert "no-such-input" in answer.pop("refused")
    assert answer == {"ready": True, "name": "double", "binary": [2, 4, 6, 8], "json": [2, 4, 6, 8]}
    assert outcomes(gateway) == {"v1": {Outcome.OK: 4, Outcome.CLIENT_ERROR: 1}}
