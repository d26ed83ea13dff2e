"""The same bytes to a server and to the gateway before it, and what may differ between the answers."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fakes.waiting import PATIENCE_S, eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, serving
from proxy.talking import Answer, get, talking

from app.domain.catalog.models import ModelName, Observation, Protocol, Version, VersionName, probe_path
from app.domain.catalog.routing import RoutedModel, RoutingTable
from app.domain.evidence.tally import Counter, Outcome
from app.proxy import Gateway

# Framed or made anew by the gateway, or different in every answer of any server.
_NOT_COMPARED = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "x-request-id"})
_OURS = frozenset({"x-turnback-version", "x-turnback-receipt"})
_UNDER_A_NAME = re.compile(rb"^([A-Z]+ )/m/[^/ ]+/?")
_COUNTED_AS = {2: Outcome.OK, 4: Outcome.CLIENT_ERROR, 5: Outcome.UPSTREAM_ERROR}


@dataclass(frozen=True)
class Pair:
    """What a server said itself, and what it said through the gateway."""

    direct: Answer
    through: Answer

    def same(self, *, but_for: bytes | None = None) -> Answer:
        """The answer through the gateway, checked against the direct one: status, fields in their order, body.

        Args:
            but_for: A pattern of what the server makes anew for each answer, such as its ids.
        """
        assert self.through.field("x-turnback-version") == "v1"
        assert self.through.status == self.direct.status
        assert _constant(_crossing(self.through), but_for) == _constant(_crossing(self.direct), but_for)
        assert _constant(self.through.body, but_for) == _constant(self.direct.body, but_for)
        return self.through


async def both(direct_port: int, gateway_port: int, request: bytes) -> Pair:
    """Ask the server first, by its own path where the request's is under `/m/{model}`, then the gateway."""
    async with talking(direct_port) as talk:
        direct = await talk.ask(_UNDER_A_NAME.sub(rb"\1/", request, count=1))
    async with talking(gateway_port) as talk:
        return Pair(direct, await talk.ask(request))


async def relayed(
    port: int, table: RoutingTable, request: bytes, status: int, *, but_for: bytes | None = None
) -> Answer:
    """A server's answer through a gateway of its own: the same as the direct one, of that status, so counted.

    Args:
        port: The server's.
        table: Has the server as version `v1`.
    """
    gateway = gateway_with(table)
    async with serving(gateway) as gateway_port:
        answer = (await both(port, gateway_port, request)).same(but_for=but_for)
    assert answer.status == status, answer.body
    assert outcomes(gateway) == {"v1": {_COUNTED_AS[status // 100]: 1}}
    return answer


async def counted(table: RoutingTable, request: bytes) -> dict[Counter, int]:
    """What a gateway counted further of one exchange, beside its outcome."""
    gateway = gateway_with(table)
    async with serving(gateway) as port:
        async with talking(port) as talk:
            await talk.ask(request)
        await eventually(lambda: counters_of(gateway))
        return counters_of(gateway)


def counters_of(gateway: Gateway) -> dict[Counter, int]:
    found: dict[Counter, int] = {}
    for row in gateway.recorder.collect().rows:
        found |= row.tally.counters
    return found


def observed(known: RoutedModel) -> RoutedModel:
    """The same model, with its answers read."""
    return replace(known, model=replace(known.model, observation=Observation()))


async def probed(port: int, protocol: Protocol, model: str) -> int:
    """How a server answers what the gateway probes it with when only its protocol is known."""
    path = probe_path(protocol, Version(ModelName(model), VersionName("v1"), (f"http://127.0.0.1:{port}",)))
    assert path is not None
    async with talking(port) as talk:
        return (await talk.ask(get(path))).status


async def settled(number: Callable[[], Awaitable[int]], for_s: float = 0.3) -> int:
    """The number once it stays the same. Raises: TimeoutError when it never does."""
    async with asyncio.timeout(PATIENCE_S):
        last, now = -1, await number()
        while now != last:
            await asyncio.sleep(for_s)
            last, now = now, await number()
        return now


def connections_to(port: int) -> int:
    """How many established connections of this machine lead to a loopback port (proc_pid_net(5))."""
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    established = [line.split() for line in lines if line.split()[3] == "01"]
    return sum(remote.endswith(f":{port:04X}") for _, _, remote, *_ in established)


def _crossing(answer: Answer) -> bytes:
    fields = [(name, value) for name, value in answer.fields if name not in _NOT_COMPARED | _OURS]
    return "\n".join(f"{name}: {value}" for name, value in fields).encode()


def _constant(text: bytes, but_for: bytes | None) -> bytes:
    return text if but_for is None else re.sub(but_for, b"*", text)
