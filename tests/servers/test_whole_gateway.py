"""A whole gateway process before three servers: registered by the command, drawn, counted, asked by clients."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from servers.peers import KSERVE, LITSERVE, MLSERVER, OPENAI, TRITONCLIENT, Running, ask, running
from system.processes import Admin, Gateway, Stage
from system.recorded import exported

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

BIAS = 100
HALVES = {"v1": 5_000, "v2": 5_000}
ASKED = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(KSERVE, tmp_path_factory.mktemp("kserve")) as started:
        yield started


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(KSERVE, tmp_path_factory.mktemp("canary"), "--bias", str(BIAS)) as started:
        yield started


@pytest.fixture
def litserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(LITSERVE, tmp_path_factory.mktemp("litserve")) as started:
        yield started


@pytest.fixture
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(MLSERVER, tmp_path_factory.mktemp("mlserver")) as started:
        yield started


@asynccontextmanager
async def gateway_process(database_url: str) -> AsyncIterator[tuple[Gateway, Admin]]:
    async with Stage() as stage:
        gateway = await stage.gateway("all", database_url=database_url, upstream_allow="127.0.0.0/8")
        yield gateway, stage.admin(gateway)


async def register(admin: Admin, model: str, health_path: str, **urls: str) -> None:
    """As docs/model-servers.md says: with the command, the first version becoming stable."""
    for version, url in urls.items():
        words = ["register", model, version, "--url", url, "--health-path", health_path]
        address = str(admin.http.base_url).removesuffix("/v1/")
        finished = await anyio.run_process([sys.executable, "-m", "app", *words, "--admin-url", address], check=False)
        assert finished.returncode == 0, finished.stderr


async def test_two_versions_are_drawn_as_weighted_and_counted_as_they_answered(
    server: Running, canary: Running, database_url: str
) -> None:
    answered: Counter[tuple[str, float]] = Counter()
    async with gateway_process(database_url) as (gateway, admin), httpx.AsyncClient(trust_env=False) as http:
        await register(admin, "double", "/v2/models/double/ready", v1=server.url, v2=canary.url)
        await gateway.serves("double")
        await admin("PUT", "/models/double/route", weights_bp=HALVES, reason="half each")
        await gateway.serves("double")
        while len(answered) < 2 or answered.total() < ASKED:
            answer = await http.post(
                f"{gateway.url('inference')}/v1/models/double:predict", json={"instances": [[1.5]]}
            )
            answered[answer.headers["x-turnback-version"], answer.json()["predictions"][0][0]] += 1
            assert answered.total() < 10 * ASKED
        refused = await http.post(f"{gateway.url('inference')}/v1/models/double:predict", json={"instances": 7})
        counted = await exported([gateway])
    assert set(answered) == {("v1", 3), ("v2", 3 + BIAS)}
    assert {version: counted["double", version, "ok"] for version in HALVES} == {
        version: count for (version, _), count in answered.items()
    }
    assert refused.status_code == 400
    assert sum(counted["double", version, "client_error"] for version in HALVES) == 1


async def test_official_clients_ask_three_servers_through_one_gateway(
    server: Running, litserve: Running, mlserver: Running, database_url: str
) -> None:
    async with gateway_process(database_url) as (gateway, admin):
        await register(admin, "double", "/v2/health/ready", v1=server.url)
        await register(admin, "iris", "/v2/health/ready", v1=mlserver.url)
        await register(admin, "echo", "/health", v1=litserve.url)
        await gateway.serves("double", "iris", "echo")
        address = gateway.addresses["inference"]
        chat = await ask(OPENAI, "--base-url", f"http://{address}/v1", "--model", "echo")
        tensors = await ask(TRITONCLIENT, "--url", address, "--model", "double", "--input", "x", "--output", "doubled")
        words = ("--model", "iris", "--input", "x", "--output", "predict", "--shape", "1", "4", "--json-only")
        flowers = await ask(TRITONCLIENT, "--url", address, *words)
        counted = await exported([gateway])
    assert (chat["version"], chat["content"], chat["streamed"]) == ("v1", "to be or not to be ", chat["content"])
    assert (tensors["binary"], tensors["json"]) == ([2, 4, 6, 8], [2, 4, 6, 8])
    assert flowers["json"] == [2]
    # `is_model_ready` does not read KServe's body: now and then the client is gone before it came.
    counted["double", "v1", "ok"] += counted.pop(("double", "v1", "cancelled"), 0)
    assert counted == {
        ("echo", "v1", "ok"): 2,
        ("echo", "v1", "upstream_error"): 1,
        ("double", "v1", "ok"): 4,
        ("double", "v1", "client_error"): 1,
        ("iris", "v1", "ok"): 3,
        ("iris", "v1", "upstream_error"): 1,
    }
