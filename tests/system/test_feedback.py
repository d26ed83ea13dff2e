"""Labels through whole gateways: receipts out of answers and back, while processes and Postgres die."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
from system.processes import Gateway, Stage
from system.recorded import until

from app.store.pg.embedded import EmbeddedPostgres

FEEDBACK = {
    "metrics": [{"name": "accuracy", "kind": "accuracy"}, {"name": "liked", "kind": "event"}],
    "rows": "all",
    "client_key_header": "x-order",
}
INFER = "/v2/models/fraud/infer"
GIVE = "/turnback/v1/feedback"


async def _registered(stage: Stage, control: Gateway) -> None:
    server = await stage.model_server("v1")
    admin = stage.admin(control)
    await admin("POST", "/models", name="fraud", feedback=FEEDBACK)
    await admin("PUT", "/models/fraud/versions/v1", urls=[server.url], health_path="/ready")


def _client(gateway: Gateway, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gateway.url("inference"), trust_env=False, timeout=30, headers=headers)


async def _asked(http: httpx.AsyncClient, order: str) -> tuple[str, str]:
    """Receipt and request id of one answer."""
    answer = await http.post(INFER, json={"inputs": []}, headers={"x-order": order})
    assert answer.status_code == 200
    return answer.headers["x-turnback-receipt"], answer.headers["x-request-id"]


async def _given(http: httpx.AsyncClient, *items: dict[str, Any]) -> Any:  # noqa: ANN401 -- a document
    answer = await http.post(f"{GIVE}?verbose=true", json=items)
    assert answer.status_code == 202, answer.text
    return answer.json()


def _labels(url: str) -> dict[str, list[object]]:
    """Each exchange's labels by exchange."""
    found: dict[str, list[object]] = {}
    with psycopg.connect(url) as connection:
        for exchange, label in connection.execute("SELECT exchange, label FROM labels ORDER BY revision").fetchall():
            found.setdefault(exchange.hex, []).append(label)
    return found


def _exchange(receipt: str) -> str:
    return receipt.split(":")[6]


async def test_labels_come_back_by_every_name_of_an_exchange(database_url: str) -> None:
    async with Stage() as stage:
        token = "t" * 16
        gateway = await stage.gateway(
            "all", database_url=database_url, upstream_allow="127.0.0.0/8", feedback_keys=f"clerk:{token}"
        )
        await _registered(stage, gateway)
        await gateway.serves("fraud")
        async with _client(gateway, authorization=f"Bearer {token}") as http:
            receipts = [await _asked(http, f"order-{number}") for number in range(3)]
            taken = await _given(
                http,
                {"receipt": receipts[0][0], "label": 1},
                {"model": "fraud", "request_id": receipts[1][1], "label": 2},
                {"model": "fraud", "client_key": "order-2", "label": 3},
                {"receipt": receipts[0][0].replace(":v1:", ":v2:"), "label": 1},
            )
            assert taken["invalid"] == 1
            assert taken["joined"] + taken["pending"] == 3
            wanted = {_exchange(receipt): [number + 1] for number, (receipt, _) in enumerate(receipts)}
            assert await until(lambda: _labels(database_url) == wanted), _labels(database_url)
            known = (await http.get(f"{GIVE}/{receipts[2][0]}")).json()
            assert [label["label"] for label in known["labels"]] == [3]


async def test_a_large_batch_is_taken_and_a_larger_body_refused(database_url: str) -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", database_url=database_url, upstream_allow="127.0.0.0/8")
        await _registered(stage, gateway)
        await gateway.serves("fraud")
        async with _client(gateway) as http:
            receipt, _ = await _asked(http, "order")
            item = {"receipt": receipt, "label": "x" * 200}
            taken = await _given(http, *[item] * 10_000)
            assert (taken["joined"], taken["duplicate"]) == (1, 9_999)
            lines = b"\n".join([orjson.dumps(item)] * 10_001)
            ndjson = {"content-type": "application/x-ndjson"}
            refused = [
                await http.post(GIVE, content=lines, headers=ndjson),
                await http.post(GIVE, content=b"[" + b" " * 10_000_000 + b"]", headers=ndjson),
                await http.post(f"{GIVE}/x", content=b" " * 2_000_000, headers=ndjson),
            ]
            assert [answer.status_code for answer in refused] == [413, 413, 413]


async def test_labels_wait_for_postgres_and_survive_a_kill(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    url = own_postgres.url
    async with Stage() as stage:
        control = await stage.gateway("control", database_url=url, upstream_allow="127.0.0.0/8")
        await _registered(stage, control)
        proxy = await stage.gateway("proxy", database_url=url, state_dir=str(tmp_path))
        await proxy.serves("fraud")
        wanted = await _killed_while_postgres_is_away(own_postgres, proxy)
        other = await stage.gateway("proxy", database_url=url, state_dir=str(tmp_path), wait_for="server.started")
        await asyncio.to_thread(own_postgres.start)
        await other.event("server.ready")
        assert await until(lambda: _labels(url) == wanted, within_s=60.0), _labels(url)
        assert await until(lambda: list((tmp_path / "feedback").glob("*")) == [])


async def _killed_while_postgres_is_away(postgres: EmbeddedPostgres, proxy: Gateway) -> dict[str, list[object]]:
    """What was accepted, by exchange."""
    wanted: dict[str, list[object]] = {}
    async with _client(proxy) as http:
        receipts = [(await _asked(http, f"order-{number}"))[0] for number in range(20)]
        await _given(http, {"receipt": receipts[0], "label": 0})
        wanted[_exchange(receipts[0])] = [0]
        await asyncio.to_thread(postgres.stop_immediately)
        for number, receipt in enumerate(receipts[1:], 1):
            taken = await _given(http, {"receipt": receipt, "label": number})
            assert (taken["accepted"], taken["pending"]) == ("spooled", 1)
            wanted[_exchange(receipt)] = [number]
        await _given(http, {"receipt": receipts[0], "label": 7, "supersedes": 1})
        wanted[_exchange(receipts[0])].append(7)
        proxy.signal(signal.SIGKILL)
        await proxy.process.wait()
    return wanted
