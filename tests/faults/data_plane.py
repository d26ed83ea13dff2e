"""The data plane alone in a process of its own: says its port, then, for each line read, its clients and how many were cut."""

import asyncio
import sys

import orjson
import uvloop
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.test_exchange import outcomes

from app.domain.catalog import Timeouts
from app.domain.tally import Outcome
from app.proxy import Limits


async def serve(upstream_url: str, limits: Limits, total_s: float) -> None:
    """Until the standard input ends."""
    gateway = gateway_with(table_of(routed({"v1": upstream_url}, timeouts=Timeouts(total_s=total_s))), limits=limits)
    asked = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    async with serving(gateway) as port:
        say(port=port)
        while await asked.readline():
            say(clients=len(gateway.clients), cancelled=outcomes(gateway).get("v1", {}).get(Outcome.CANCELLED, 0))


def say(**facts: int) -> None:
    sys.stdout.buffer.write(orjson.dumps(facts) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    settings = orjson.loads(sys.argv[2])
    uvloop.run(serve(sys.argv[1], Limits(**settings["limits"]), settings["total_s"]))
