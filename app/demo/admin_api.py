"""The gateway's admin API as the story uses it: documents in, documents out."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx
import orjson

from app.demo.children import CannotPlay

PATIENCE_S = 15.0
LOOK_S = 0.5


class NotNow(CannotPlay):
    """The gateway's control side cannot answer at the moment; inference goes on."""


class AdminApi:
    """One gateway's admin API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **query: str) -> Any:  # noqa: ANN401 -- a document, as the schema says
        """Raises: NotNow, CannotPlay."""
        return await self._document("GET", path, params=query)

    async def get_patiently(self, path: str, **query: str) -> Any:  # noqa: ANN401 -- see get
        """As soon as the control side answers again. Raises: NotNow when it does not, CannotPlay."""
        for _ in range(round(PATIENCE_S / LOOK_S)):
            with suppress(NotNow):
                return await self.get(path, **query)
            await asyncio.sleep(LOOK_S)
        return await self.get(path, **query)

    async def put(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 -- see get
        """Raises: NotNow, CannotPlay."""
        return await self._document("PUT", path, json=body)

    async def post(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 -- see get
        """Raises: NotNow, CannotPlay."""
        return await self._document("POST", path, json=body)

    async def lines(self, path: str) -> list[Any]:
        """The documents of a list that comes as one JSON document a line. Raises: NotNow, CannotPlay."""
        answer = await self._answer("GET", path)
        return [orjson.loads(line) for line in answer.content.splitlines() if line]

    async def _document(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401 -- httpx's own words
        return (await self._answer(method, path, **content)).json()

    async def _answer(self, method: str, path: str, **content: Any) -> httpx.Response:  # noqa: ANN401 -- likewise
        try:
            answer = await self._client.request(method, f"/v1/{path}", **content)
        except httpx.TransportError as failed:
            raise NotNow(f"the admin API cannot be reached: {failed!r}") from failed
        if answer.status_code == 503:
            raise NotNow(f"the gateway cannot do {method} {path} now: {answer.text}")
        if not answer.is_success:
            raise CannotPlay(f"the gateway refused {method} {path}: {answer.status_code} {answer.text}")
        return answer
