"""The data plane alone in a process of its own: says its port, and its clients for each line that it reads."""

import asyncio
import socket
import sys

import orjson
import uvloop
from proxy.exchange.test_exchange import outcomes
from proxy.serving import configured, gateway_with, routed, table_of
from uvicorn.server import ServerState

from app.domain.catalog.models import Timeouts
from app.domain.evidence.tally import Outcome
from app.proxy import Limits


async def serve(upstream_url: str, limits: Limits, total_s: float) -> None:
    """Until the standard input ends."""
    gateway = gateway_with(table_of(routed({"v1": upstream_url}, timeouts=Timeouts(total_s=total_s))), limits=limits)
    asked = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    loop, listening = asyncio.get_running_loop(), socket.create_server(("127.0.0.1", 0), backlog=2048)
    # Otherwise the kernel takes megabytes for each client that does not read.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    config, state = configured(gateway), ServerState()
    async with await loop.create_server(lambda: gateway.protocol(config, state, {}, loop), sock=listening):
        say(port=listening.getsockname()[1])
        while await asked.readline():
            say(clients=len(gateway.port.clients), cancelled=outcomes(gateway).get("v1", {}).get(Outcome.CANCELLED, 0))


def say(**facts: int) -> None:
    sys.stdout.buffer.write(orjson.dumps(facts) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    settings = orjson.loads(sys.argv[2])
    uvloop.run(serve(sys.argv[1], Limits(**settings["limits"]), settings["total_s"]))
