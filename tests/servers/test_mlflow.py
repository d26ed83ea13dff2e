"""mlflow's scoring server: `/invocations`, which names no model, and predictions that are not JSON."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post
from servers.comparing import counted, observed, probed, relayed
from servers.peers import MLFLOW, REQUESTS, Running, ask, running

from app.domain.catalog.models import Protocol
from app.domain.catalog.routing import RoutingTable
from app.domain.evidence.tally import Counter, Outcome

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

INVOCATIONS = "/invocations"
NOWHERE = "http://127.0.0.1:9"
JSON = "content-type: application/json"
CSV = "content-type: text/csv"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(MLFLOW, tmp_path_factory.mktemp("mlflow")) as started:
        yield started


def table(server: Running) -> RoutingTable:
    plain = routed({"v1": server.url}, name="sqrt")
    return table_of(replace(plain, model=replace(plain.model, takes_invocations=True)))


def records(*numbers: float) -> bytes:
    return orjson.dumps({"dataframe_records": [{"number": number} for number in numbers]})


ASKED = {
    "records": (post(records(4, 9), INVOCATIONS, JSON), 200),
    "split": (post(b'{"dataframe_split":{"columns":["number"],"data":[[4],[9]]}}', INVOCATIONS, JSON), 200),
    "csv": (post(b"number\n4\n9\n", INVOCATIONS, CSV), 200),
    "under the model's name": (post(records(4), "/m/sqrt/invocations", JSON), 200),
    "not a number": (post(records(-1), INVOCATIONS, JSON), 200),
    # A fault of the server's own, which a client without a content type makes count against the version.
    "no content type": (post(records(4), INVOCATIONS), 500),
    "a wrong content type": (post(records(4), INVOCATIONS, "content-type: text/plain"), 415),
    "broken JSON": (post(b'{"dataframe_records":', INVOCATIONS, JSON), 400),
    "two inputs at once": (post(b'{"inputs":[1],"instances":[1]}', INVOCATIONS, JSON), 400),
    "by GET": (get(INVOCATIONS), 405),
    "ping": (get("/m/sqrt/ping"), 200),
    "health": (get("/m/sqrt/health"), 200),
    "version": (get("/m/sqrt/version"), 200),
}


@pytest.mark.parametrize("case", ASKED)
async def test_every_answer_comes_as_the_server_sent_it(server: Running, case: str) -> None:
    request, status = ASKED[case]
    await relayed(server.port, table(server), request, status)


async def test_the_protocols_own_probe_finds_it_ready(server: Running) -> None:
    assert await probed(server.port, Protocol.MLFLOW, "sqrt") == 200


async def test_a_bare_nan_crosses_although_it_is_not_json(server: Running) -> None:
    answer = await relayed(server.port, table(server), post(records(4, -1), INVOCATIONS, JSON), 200)
    assert answer.body == b'{"predictions": [2.0, NaN]}'
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.body)
    assert math.isnan(json.loads(answer.body)["predictions"][1])


async def test_text_labelled_as_json_crosses_as_it_is(server: Running) -> None:
    answer = await relayed(server.port, table(server), get("/m/sqrt/version"), 200)
    assert (answer.field("content-type"), answer.body) == ("application/json", b"3.17.2")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.body)


async def test_a_header_names_the_model_among_several(server: Running) -> None:
    several = table_of(routed({"v1": server.url}, name="sqrt"), routed({"v1": NOWHERE}, name="another"))
    request = post(records(4, 9), INVOCATIONS, JSON, "x-turnback-model: sqrt")
    answer = await relayed(server.port, several, request, 200)
    assert answer.body == b'{"predictions": [2.0, 3.0]}'


async def test_a_prediction_that_is_no_number_is_read_and_counted(server: Running) -> None:
    table = table_of(observed(routed({"v1": server.url}, name="sqrt")))
    assert await counted(table, post(records(4), "/m/sqrt/invocations", JSON)) == {Counter.READ: 1}
    counters = await counted(table, post(records(4, -1), "/m/sqrt/invocations", JSON))
    assert counters == {Counter.READ: 1, Counter.NONFINITE: 1}


async def test_a_plain_client_needs_only_another_address(server: Running) -> None:
    gateway = gateway_with(table(server))
    async with serving(gateway) as port:
        direct, answer = [await ask(REQUESTS, "--url", f"http://127.0.0.1:{each}") for each in (server.port, port)]
    assert answer == direct
    assert answer == {"predictions": [2.0, 3.0], "refused": [400, "BAD_REQUEST"]}
    assert outcomes(gateway) == {"v1": {Outcome.OK: 1, Outcome.CLIENT_ERROR: 1}}
