"""The quicker of the two usual Python proxies: FastAPI in front, aiohttp behind, one session, streamed answers.

Runs in a process of its own: `python -m bench.peer_fastapi_aiohttp PORT UPSTREAM_PORT`, in an environment
that has aiohttp. Like its sister with httpx: uvloop, httptools, no access log, no limit on connections.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp  # type: ignore[import-not-found]  # in the environment this runs in, not in ours
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"})


def proxy_to(upstream: str) -> FastAPI:
    """An application that forwards every request to one base address."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            app.state.session = session
            yield

    app = FastAPI(lifespan=lifespan)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def forward(path: str, request: Request) -> StreamingResponse:
        session: aiohttp.ClientSession = request.app.state.session
        headers = {name: text for name, text in request.headers.items() if name not in _HOP_BY_HOP}
        answer = await session.request(request.method, f"{upstream}/{path}", headers=headers, data=await request.body())
        return StreamingResponse(
            answer.content.iter_any(),
            status_code=answer.status,
            headers={name: text for name, text in answer.headers.items() if name.lower() not in _HOP_BY_HOP},
            background=BackgroundTask(answer.release),
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
