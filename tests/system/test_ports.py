"""The ports of a real process: who may call them, and that trouble on two of them never reaches the third.

The figures of a run are printed: `-s` shows them.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import pytest
from system.processes import Admin, Gateway, Stage

DESCRIPTORS = 256
HALF_HEADS = 240
ROUNDS = 6
PER_BURST = 300
HEADER_MIB = 147
INFER = b"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 14\r\n\r\n" + b'{"inputs": []}'


def show(line: str) -> None:
    sys.stdout.write(f"{line}\n")


# ---------------------------------------------------------------------- trouble on the other ports


@asynccontextmanager
async def attackers(port: int) -> AsyncIterator[Process]:
    program = Path(__file__).with_name("half_heads.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), str(port), str(HALF_HEADS), stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.communicate()


async def tell(process: Process, word: str) -> int:
    """Have the attackers open or close; how many connections they hold."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n".encode())
    return int(await process.stdout.readline())


async def burst(port: int, *, kept: int = 4) -> list[float]:
    """Seconds of each of a burst of exchanges, some connections at a time. Raises: AssertionError, ConnectionError."""
    seconds: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(PER_BURST // kept):
            started = perf_counter()
            writer.write(INFER)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            seconds.append(perf_counter() - started)
        writer.close()

    await asyncio.gather(*(client() for _ in range(kept)))
    return seconds


async def with_a_model(stage: Stage, database_url: str) -> Gateway:
    gateway = await stage.gateway(
        "all", database_url=database_url, upstream_allow="127.0.0.0/8", descriptors=DESCRIPTORS
    )
    await stage.admin(gateway).register("fraud", v1=await stage.model_server("v1"))
    await gateway.serves("fraud")
    return gateway


@pytest.mark.parametrize("listener", ["ops", "admin"])
async def test_half_heads_on_another_port_refuse_no_inference(listener: str, database_url: str) -> None:
    async with Stage() as stage:
        gateway = await with_a_model(stage, database_url)
        port = int(gateway.addresses[listener].rpartition(":")[2])
        quiet: list[float] = []
        attacked: list[float] = []
        async with attackers(port) as process, httpx.AsyncClient(trust_env=False) as http:
            await burst(gateway.inference_port)
            for _ in range(ROUNDS):
                assert await tell(process, "close") == 0
                quiet.append(median(await burst(gateway.inference_port)))
                assert await tell(process, "open") == HALF_HEADS
                attacked.append(median(await burst(gateway.inference_port)))
                # Whoever asks in the midst of it is answered there, too.
                assert (await http.get(f"{gateway.url('ops')}/livez")).status_code == 200
                assert (await http.get(f"{gateway.url('admin')}/v1/models")).status_code == 200
        ratios = sorted(there / here for there, here in zip(attacked, quiet, strict=True))
    show(
        f"\n{HALF_HEADS} half heads on {listener}, {DESCRIPTORS} descriptors: inference p50"
        f" quiet {median(quiet) * 1e6:.0f} us, attacked {median(attacked) * 1e6:.0f} us,"
        f" ratio {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}),"
        f" {ROUNDS * PER_BURST} exchanges each, 0 refused"
    )


def memory_kib(gateway: Gateway, name: str) -> int:
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak(gateway: Gateway) -> None:
    """Count the peak of memory anew (proc_pid_clear_refs(5))."""
    Path(f"/proc/{gateway.process.pid}/clear_refs").write_text("5")


@pytest.mark.parametrize("listener", ["ops", "admin", "inference"])
async def test_a_header_without_end_is_refused_in_little_memory(listener: str, database_url: str) -> None:
    async with Stage() as stage:
        gateway = await with_a_model(stage, database_url)
        port = int(gateway.addresses[listener].rpartition(":")[2])
        await _send_much(port, 1)
        forget_peak(gateway)
        before = memory_kib(gateway, "VmRSS")
        status = await _send_much(port, HEADER_MIB)
        growth = memory_kib(gateway, "VmHWM") - before
    show(f"\n{HEADER_MIB} MiB of header on {listener}: {status}, peak of memory {growth:+d} KiB")
    assert status == 431
    # uvicorn's own protocol took all of it; what else the process does meanwhile is not this test's.
    assert growth < 16 * 1024


async def _send_much(port: int, mib: int) -> int:
    """Send a header of this size, as much of it as is taken; the status that is told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-large: ")

    async def send() -> None:
        for _ in range(mib):
            writer.write(b"a" * 1024 * 1024)
            await writer.drain()

    sending = asyncio.create_task(send())
    status = int((await reader.readuntil(b"\r\n")).split()[1])
    await asyncio.wait((sending,), timeout=10)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.transport.abort()
    return status


# ---------------------------------------------------------------------- whom it is for

PATHS = {"admin": ("/v1/models", "/openapi.json", "/livez"), "ops": ("/metrics", "/livez", "/readyz")}
# What a caller says, {own} being the address it came to, and whether this process listens to it.
HOSTS = {
    "{own}": True,
    "{own}:1234": True,
    "localhost": True,
    "LOCALHOST.": True,
    "control": True,
    "control:80": True,
    "10.0.0.9": True,
    "evil.example": False,
    "localhost.evil.example": False,
    "127.0.0.9": False,
    "[::2]": False,
    "127.1": False,
    "0.0.0.0": False,  # noqa: S104 -- a name somebody calls
}
CALLED_AT = ("127.0.0.1", "127.0.0.2", "::1")


async def status_of(port: int, address: str, host: str, path: str) -> int:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
    status = int((await reader.readuntil(b"\r\n")).split()[1])
    writer.close()
    return status


async def test_every_host_at_every_listener_and_path(database_url: str) -> None:
    expected: dict[tuple[str, ...], int] = {}
    seen: dict[tuple[str, ...], int] = {}
    async with Stage() as stage:
        gateway = await stage.gateway(
            "control",
            database_url=database_url,
            upstream_allow="127.0.0.0/8",
            admin_host="::",
            ops_host="::",
            insecure_admin="true",
            admin_hosts="control, 10.0.0.9",
        )
        for listener, paths in PATHS.items():
            port = int(gateway.addresses[listener].rpartition(":")[2])
            for address in CALLED_AT:
                own = f"[{address}]" if ":" in address else address
                for pattern, is_ours in HOSTS.items():
                    for path in paths:
                        cell = (pattern, listener, address, path)
                        seen[cell] = await status_of(port, address, pattern.format(own=own), path)
                        there = 404 if (listener, path) == ("admin", "/livez") else 200
                        expected[cell] = there if is_ours or path in {"/livez", "/readyz"} else 421
    show("\n" + _table(seen))
    assert seen == expected


def _table(cells: dict[tuple[str, ...], int]) -> str:
    columns = list(dict.fromkeys(cell[1:] for cell in cells))
    rows = [f"{'Host':24}" + "".join(f"{' '.join(column):>32}" for column in columns)]
    rows += [f"{host:24}" + "".join(f"{cells[host, *column]:>32}" for column in columns) for host in HOSTS]
    return "\n".join(rows)


# What a page may try: it registers a version of its own and gives it all traffic, or undoes a rollback.
EVIL_URL = "http://127.0.0.1:9"


def tries(rollout: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Every request that changes something."""
    reason = {"reason": "a page said so"}
    return [
        ("POST", "/v1/models", {"name": "evil"}),
        ("PUT", "/v1/models/fraud/versions/evil", {"urls": [EVIL_URL]}),
        ("PUT", "/v1/models/fraud/route", {"weights_bp": {"v1": 5_000, "v2": 5_000}, **reason}),
        ("POST", "/v1/models/fraud/rollouts", {"canary": "v2", **reason}),
        *(
            ("POST", f"/v1/rollouts/{rollout}:{action}", {**reason, "force": True})
            for action in ("pause", "resume", "promote", "rollback", "abort")
        ),
        ("POST", "/v1/models/fraud/recalls", {"version": "v2", **reason}),
    ]


async def all_there_is(admin: Admin, rollout: str) -> list[Any]:
    """What a person sees of everything that the requests could change."""
    paths = ("/models", "/models/fraud", "/models/fraud/route", "/audit", "/decisions", "/recalls")
    shown = [await admin("GET", path) for path in paths]
    shown.append((await admin("GET", f"/rollouts/{rollout}"))["phase"])
    return shown


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"host": "evil.example:{port}"}, 421),
        ({"host": "evil.example:{port}", "origin": "http://evil.example:{port}", "sec-fetch-site": "same-origin"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://localhost:{port}", "sec-fetch-site": "same-site"}, 403),
    ],
    ids=["rebound", "rebound page", "simple request", "sandboxed page", "cross-site", "same site"],
)
async def test_a_page_from_elsewhere_registers_promotes_and_rolls_back_nothing(
    fields: dict[str, str], expected: int, database_url: str
) -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("control", database_url=database_url, upstream_allow="127.0.0.0/8")
        admin = stage.admin(gateway)
        server = await stage.model_server("v1")
        await admin.register("fraud", v1=server, v2=server)
        rollout = (await admin("POST", "/models/fraud/rollouts", canary="v2", reason="begun by a person"))["id"]
        await admin("POST", f"/rollouts/{rollout}:pause", reason="so that nothing moves by itself")
        before = await all_there_is(admin, rollout)
        url = gateway.url("admin")
        page = {name: value.format(port=url.rpartition(":")[2]) for name, value in fields.items()}
        async with httpx.AsyncClient(base_url=url, trust_env=False) as browser:
            answers = [
                await browser.request(method, path, json=body, headers=page) for method, path, body in tries(rollout)
            ]
        assert [answer.status_code for answer in answers] == [expected] * len(answers)
        assert {answer.json()["code"] for answer in answers} == {
            "MisdirectedRequest" if expected == 421 else "CrossOrigin"
        }
        assert await all_there_is(admin, rollout) == before
        # The very same request is heard from a page of its own, and from what is no browser.
        async with httpx.AsyncClient(base_url=url, trust_env=False) as browser:
            method, path, body = tries(rollout)[0]
            assert (await browser.request(method, path, json=body, headers={"origin": url})).status_code == 201
        assert (await admin("POST", f"/rollouts/{rollout}:rollback", reason="a person"))["action"]
    show(f"\n{', '.join(f'{name}: {value}' for name, value in page.items())}: {len(answers)} x {expected}, changed: 0")
