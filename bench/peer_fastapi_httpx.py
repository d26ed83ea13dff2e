"""The peer that many teams write first: FastAPI in front, httpx behind, one shared client, streamed answers.

Runs in a process of its own: `python -m bench.peer_fastapi PORT UPSTREAM_PORT`. Naive, but nothing in it is
slow on purpose: uvloop, httptools, no access log, no limit on kept connections.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"})


def proxy_to(upstream: str) -> FastAPI:
    """An application that forwards every request to one base address."""
    client = httpx.AsyncClient(base_url=upstream, limits=httpx.Limits(), timeout=30)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def forward(path: str, request: Request) -> StreamingResponse:
        headers = [(name, text) for name, text in request.headers.items() if name not in _HOP_BY_HOP]
        outbound = client.build_request(request.method, f"/{path}", headers=headers, content=await request.body())
        answer = await client.send(outbound, stream=True)
        return StreamingResponse(
            answer.aiter_raw(),
            status_code=answer.status_code,
            headers={name: text for name, text in answer.headers.items() if name not in _HOP_BY_HOP},
            background=BackgroundTask(answer.aclose),
        )

    return app


if __name__ == "__main__":
    uvicorn.run(
        proxy_to(f"http://127.0.0.1:{sys.argv[2]}"),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
