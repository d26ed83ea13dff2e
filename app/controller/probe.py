"""Asks a model server whether it is ready; nothing else of the control plane talks to one.

Rule: a probe follows no redirect and no proxy setting, reads no body beyond its limit, and always ends.
"""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from app.domain.catalog import Version


class Prober:
    """Probes versions, each probe on a connection of its own."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
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

    async def __call__(self, version: Version) -> str | None:
        """Why the version is not ready, in a few words; None when it is."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if version.health_path is None:
                    return await _connects(version.urls[0])
                return await self._answers(version.urls[0] + version.health_path)
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer in {self._timeout_s:g} s"
        except httpx.HTTPError:
            return "it does not speak HTTP"
        except OSError as refused:
            return refused.strerror or "not reachable"

    async def _answers(self, url: str) -> str | None:
        # The body is never read: the status says all, and a body could be endless.
        try:
            async with self._client.stream("GET", url) as answer:
                return None if answer.is_success else f"status {answer.status_code}"
        except httpx.ConnectError:
            return "connection refused"


async def _connects(url: str) -> str | None:
    address = urlsplit(url)
    _, writer = await asyncio.open_connection(address.hostname, address.port or 80)
    writer.close()
    return None
