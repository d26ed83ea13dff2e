"""Asks model servers whether they are ready; nothing else of the control plane talks to one.

Rule: a probe follows no redirect and no proxy setting, reads no body beyond its limit, and always ends.
"""

import asyncio
import ssl
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from app.domain.catalog.models import Protocol, Version, probe_path

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Prober:
    """Probes versions, each of their upstreams on a connection of its own."""

    def __init__(self, timeout_s: float, tls: ssl.SSLContext) -> None:
        """Args: tls: How https upstreams are believed, the same as for exchanges."""
        self._timeout_s = timeout_s
        self._tls = tls
        self._client = httpx.AsyncClient(
            verify=tls,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def __call__(self, protocol: Protocol, version: Version) -> str | None:
        """Why none of the version's upstreams is ready, in a few words for each; None when at least one is."""
        path = probe_path(protocol, version)
        reasons = await asyncio.gather(*(self._ask(url, path, version.server_name) for url in version.urls))
        refused = [why for why in reasons if why is not None]
        if len(refused) < len(version.urls):
            return None
        if len(refused) == 1:
            return refused[0]
        return "; ".join(f"{url}: {why}" for url, why in zip(version.urls, refused, strict=True))

    async def _ask(self, url: str, path: str | None, server_name: str | None) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                if path is not None:
                    return await self._answers(url + path, server_name)
                await self._connect(url, server_name)
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer in {self._timeout_s:g} s"
        except httpx.ConnectError as failed:
            return _tls_refusal(failed) or "connection refused"
        except httpx.HTTPError:
            return "it does not speak HTTP"
        except OSError as refused:
            return _tls_refusal(refused) or refused.strerror or "not reachable"
        return None

    async def _answers(self, url: str, server_name: str | None) -> str | None:
        named = {} if server_name is None else {"sni_hostname": server_name}
        # The body is never read: the status says all, and a body could be endless.
        async with self._client.stream("GET", url, extensions=named) as answer:
            return None if answer.is_success else f"status {answer.status_code}"

    async def _connect(self, url: str, server_name: str | None) -> None:
        address = urlsplit(url)
        port = address.port or _DEFAULT_PORTS[address.scheme]
        if address.scheme == "https":
            named = server_name or address.hostname
            _, writer = await asyncio.open_connection(address.hostname, port, ssl=self._tls, server_hostname=named)
        else:
            _, writer = await asyncio.open_connection(address.hostname, port)
        writer.close()


def _tls_refusal(failed: BaseException) -> str | None:
    """What a failed handshake was about; None when it was no handshake that failed."""
    seen: BaseException | None = failed
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({seen.verify_message})"
        if isinstance(seen, ssl.SSLError):
            return "the TLS handshake failed"
        seen = seen.__cause__ or seen.__context__
    return None
