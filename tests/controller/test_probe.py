"""A probe believes only a 2xx or a connection, asks every upstream, and always comes back."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from app.controller.probe import Prober
from app.domain.catalog.models import ModelName, Protocol, Version, VersionName
from app.proxy.upstream.tls import upstream_context

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[..., Awaitable[str]]

READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
NOBODY = "http://127.0.0.1:1"


class Asked(list[bytes]):
    """The request lines that reached the servers of a test."""


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
async def serve(asked: Asked) -> AsyncIterator[Serve]:
    """Servers that read a request and answer with the given bytes, or never."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def start(answer: bytes, tls: ssl.SSLContext | None = None) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            asked.append((await reader.read(1_000)).partition(b"\r\n")[0])
            if answer:
                writer.write(answer)
                writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        scheme = "http" if tls is None else "https"
        return f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.close()


async def ask(
    *urls: str,
    health_path: str | None = "/ready",
    protocol: Protocol = Protocol.AUTO,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> str | None:
    version = Version(ModelName("fraud"), VersionName("v1"), urls, health_path=health_path, server_name=server_name)
    async with Prober(0.5, tls or upstream_context(None, None, None)) as probe:
        return await probe(protocol, version)


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
async def test_nobody_there_is_not_ready(health_path: str | None) -> None:
    assert await ask(NOBODY, health_path=health_path) is not None


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        (Protocol.KSERVE_V1, b"/v1/models/fraud"),
        (Protocol.OIP_V2, b"/v2/health/ready"),
        (Protocol.TORCHSERVE, b"/ping"),
        (Protocol.OPENAI, b"/health"),
    ],
)
async def test_the_protocol_says_which_path_is_asked_unless_the_version_does(
    serve: Serve, asked: Asked, protocol: Protocol, path: bytes
) -> None:
    url = await serve(READY)
    assert await ask(f"{url}/base", health_path=None, protocol=protocol) is None
    assert await ask(url, health_path="/ready", protocol=protocol) is None
    assert asked == [b"GET /base%s HTTP/1.1" % path, b"GET /ready HTTP/1.1"]


async def test_one_upstream_that_answers_is_enough_and_all_are_asked(serve: Serve, asked: Asked) -> None:
    busy, ready = await serve(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"), await serve(READY)
    assert await ask(busy, ready, NOBODY) is None
    assert len(asked) == 2


async def test_when_none_answers_each_is_named_with_its_reason(serve: Serve) -> None:
    busy = await serve(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
    assert await ask(busy, NOBODY) == f"{busy}: status 503; {NOBODY}: connection refused"


# ------------------------------------------------------------------ https


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path) -> ssl.SSLContext:
    """The gateway's context when its CA file names the authority, and its certificate is signed by it too."""
    own = authority.issue_cert("gateway.test")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    return upstream_context(tmp_path / "ca.pem", tmp_path / "own.pem", None)


def serving(authority: trustme.CA, name: str, *, asks: bool = False) -> ssl.SSLContext:
    """A server's context with a certificate for that name; if it asks, only for the authority's clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # A client learns of a refused certificate only by reading, and the handshake of 1.3 is over by then.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(name).configure_cert(context)
    if asks:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("health_path", ["/ready", None])
async def test_an_https_upstream_is_believed_by_its_authority_and_name_only(
    serve: Serve, authority: trustme.CA, trusting: ssl.SSLContext, health_path: str | None
) -> None:
    good = await serve(READY, serving(authority, "127.0.0.1"))
    other = await serve(READY, serving(authority, "models.test"))
    assert await ask(good, health_path=health_path, tls=trusting) is None
    assert await ask(other, health_path=health_path, tls=trusting, server_name="models.test") is None
    for url, tls in ((other, trusting), (good, upstream_context(None, None, None))):
        why = await ask(url, health_path=health_path, tls=tls)
        assert why is not None
        assert why.startswith("its certificate is not accepted")


@pytest.mark.parametrize("health_path", ["/ready", None])
async def test_an_upstream_that_asks_for_a_certificate_is_shown_the_gateways(
    serve: Serve, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path, health_path: str | None
) -> None:
    url = await serve(READY, serving(authority, "127.0.0.1", asks=True))
    assert await ask(url, health_path=health_path, tls=trusting) is None
    unnamed = upstream_context(tmp_path / "ca.pem", None, None)
    assert await ask(url, health_path=health_path, tls=unnamed) is not None
