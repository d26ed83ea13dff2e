"""How a process starts, refuses to start, and ends."""

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest
from system.processes import Stage, clean_environment
from system.recorded import tallied
from system.steady_load import request

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


# Each case as a start of its own, in one process: what is refused must leave nothing behind.
REFUSALS = """
import json, sys
from app import main
from app.settings import Settings
for case in json.loads(sys.argv[1]):
    role = case.pop("role")
    print(main.serve(Settings(**case), main.Role(role)), flush=True)
"""


async def test_what_is_unsafe_or_senseless_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases: list[tuple[dict[str, object], str]] = [
            ({"role": "proxy"}, "TURNBACK_DATABASE_URL"),
            ({"role": "control"}, "TURNBACK_DATABASE_URL"),
            ({"role": "control", "database_url": NOWHERE}, "TURNBACK_UPSTREAM_ALLOW"),
            ({"role": "all", "admin_host": "0.0.0.0"}, "TURNBACK_INSECURE_ADMIN"),  # noqa: S104 -- it is refused
            (
                {"role": "control", "database_url": NOWHERE, "upstream_allow": "what ever", "ops_port": 0},
                "UPSTREAM_ALLOW",
            ),
            ({"role": "all", "ops_port": port}, f"127.0.0.1:{port}"),
            ({"role": "all", "upstream_ca_file": str(tmp_path / "none.pem")}, "TURNBACK_UPSTREAM_CA_FILE"),
            (
                {"role": "control", "database_url": "postgresql://h:port/x", "upstream_allow": "::1", "ops_port": 0},
                "DATABASE_URL",
            ),
        ]
        given = [{"admin_port": 0, "inference_port": 0, "state_dir": str(tmp_path), **case} for case, _ in cases]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", REFUSALS, json.dumps(given)),
            env=clean_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
    said = stderr.decode().splitlines()
    assert stdout.split() == [b"1"] * len(cases), stderr.decode()
    assert len(said) == len(cases), said
    for (_, expected), line in zip(cases, said, strict=True):
        assert expected in line
        assert line.endswith(".")


async def test_sigterm_lets_an_exchange_finish_and_writes_its_tally(database_url: str) -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", database_url=database_url, upstream_allow="127.0.0.0/8")
        slow = await stage.model_server("slow", delay_ms=1_500)
        await stage.admin(gateway).register("fraud", v1=slow)
        await gateway.serves("fraud")
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.inference_port)
        answer = asyncio.create_task(request(reader, writer, "fraud"))
        await asyncio.sleep(0.5)
        gateway.signal(signal.SIGTERM)
        await gateway.event("server.draining")
        assert (await answer).status == 200
        writer.close()
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection("127.0.0.1", gateway.inference_port)
        assert await gateway.ended() == 0
    assert tallied(database_url)["fraud", "v1", "ok"] >= 1


async def test_a_second_signal_ends_a_drain_at_once(database_url: str) -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", database_url=database_url, upstream_allow="127.0.0.0/8", drain_s="60")
        stuck = await stage.model_server("stuck", delay_ms=50_000)
        await stage.admin(gateway).register("fraud", v1=stuck)
        await gateway.serves("fraud")
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.inference_port)
        answer = asyncio.create_task(request(reader, writer, "fraud"))
        await asyncio.sleep(0.3)
        gateway.signal(signal.SIGTERM)
        await gateway.event("server.draining")
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(within_s=10) != 0
        assert isinstance((await asyncio.gather(answer, return_exceptions=True))[0], Exception)
        assert gateway.events[-1]["event"] == "server.cut_short"
        assert gateway.other_lines == []
        writer.close()


async def test_a_proxy_without_postgres_keeps_trying_and_says_it_is_not_ready() -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("proxy", database_url=NOWHERE, wait_for="server.started")
        async with httpx.AsyncClient(trust_env=False) as http:
            ready = await http.get(f"{gateway.url('ops')}/readyz")
            assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
            assert (await http.get(f"{gateway.url('ops')}/livez")).status_code == 200
            answer = await http.post(f"{gateway.url('inference')}/v2/models/fraud/infer")
            assert answer.headers["content-type"] == "application/problem+json"
            assert not answer.is_success
        assert await gateway.stop() == 0


async def test_the_gateways_own_path_is_answered_beside_inference(database_url: str) -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("proxy", database_url=database_url)
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{gateway.url('inference')}/turnback/v1/version")
            assert answer.json() == {"version": "0.1.0", "boot": gateway.addresses["boot"]}
            unknown = await http.get(f"{gateway.url('inference')}/turnback/v1/nothing")
            assert (unknown.status_code, unknown.json()["code"]) == (404, "UnknownPath")
        assert await gateway.stop() == 0
