"""A probe believes only a 2xx or a connection, and always comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.controller.probe import Prober
from app.domain.catalog import ModelName, Version, VersionName

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Servers that read a request and answer with the given bytes, or never."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def start(answer: bytes) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await reader.read(1_000)
            if answer:
                writer.write(answer)
                writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.close()


async def ask(url: str, health_path: str | None = "/ready", timeout_s: float = 0.5) -> str | None:
    async with Prober(timeout_s) as probe:
        return await probe(Version(ModelName("fraud"), VersionName("v1"), (url,), health_path=health_path))


async def test_a_2xx_is_ready_even_if_its_body_never_ends(serve: Serve) -> None:
    assert await ask(await serve(b"HTTP/1.1 204 No Content\r\n\r\n")) is None
    assert await ask(await serve(b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\nx")) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "status 302"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak HTTP"),
        (b"", "no answer in 0.5 s"),
    ],
)
async def test_anything_else_is_not_and_says_why(serve: Serve, answer: bytes, why: str) -> None:
    assert await ask(await serve(answer)) == why


async def test_without_a_health_path_a_connection_is_enough(serve: Serve) -> None:
    assert await ask(await serve(b""), health_path=None) is None


@pytest.mark.parametrize("health_path", ["/ready", None])
async def test_nobody_there_is_not_ready(serve: Serve, health_path: str | None) -> None:
    assert await ask("http://127.0.0.1:1", health_path) is not None
