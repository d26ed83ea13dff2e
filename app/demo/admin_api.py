"""The gateway's admin API as the story uses it: documents in, documents out."""

from collections.abc import Mapping
from typing import Any

import httpx

from app.demo.children import CannotPlay


class NotNow(Exception):
    """The gateway's control side cannot answer at the moment; inference goes on."""


class AdminApi:
    """One gateway's admin API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **query: str) -> Any:  # noqa: ANN401 -- a document, as the schema says
        """Raises: NotNow, CannotPlay."""
        return await self._document("GET", path, params=query)

    async def put(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 -- see get
        """Raises: NotNow, CannotPlay."""
        return await self._document("PUT", path, json=body)

    async def post(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 -- see get
        """Raises: NotNow, CannotPlay."""
        return await self._document("POST", path, json=body)

    async def _document(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401 -- httpx's own words
        try:
            answer = await self._client.request(method, f"/v1/{path}", **content)
        except httpx.TransportError as failed:
            raise NotNow(str(failed) or type(failed).__name__) from failed
        if answer.status_code == 503:
            raise NotNow(answer.text)
        if not answer.is_success:
            raise CannotPlay(f"the gateway refused {method} {path}: {answer.status_code} {answer.text}")
        return answer.json()
