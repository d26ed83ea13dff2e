"""A gateway in a process of its own that may open few files; a program, started by test_descriptors.py."""

import asyncio
import resource
import sys
from dataclasses import replace

import uvloop
from proxy.serving import gateway_with, routed, serving, table_of

from app.proxy.bounds.admission import fitting_places
from app.proxy.bounds.limits import DEFAULT_LIMITS

DESCRIPTORS = 256


async def main(upstream_url: str, *, capped: bool) -> None:
    """Serve until standard input ends; the port is the first line of the output."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    connections = fitting_places().inference if capped else 10_000
    gateway = gateway_with(
        table_of(routed({"v1": upstream_url})), limits=replace(DEFAULT_LIMITS, connections=connections)
    )
    async with serving(gateway) as port:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], capped=sys.argv[2] == "capped"))
