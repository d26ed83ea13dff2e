"""The admin REST API as the CLI sees it: documents in and out, refusals as exit codes (ADR 0008)."""

import getpass
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx

from app.cli.output import Refused
from app.cli.verbs import ExitCode
from app.terminal.text import Document

_ACTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")

_CODES = {
    400: ExitCode.USAGE,
    401: ExitCode.FORBIDDEN,
    403: ExitCode.FORBIDDEN,
    404: ExitCode.USAGE,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    413: ExitCode.USAGE,
    422: ExitCode.USAGE,
    502: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
    504: ExitCode.UNREACHABLE,
}


class NotThere(Refused):
    """404: the gateway has nothing of that name."""


class Gateway:
    """One gateway's admin API."""

    def __init__(self, url: str, *, patience_s: float = 15.0) -> None:
        """Args: patience_s: For an answer; a probe of the rollback's target may take its time."""
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=httpx.Timeout(patience_s, connect=3), headers=_who())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, *path: str, **query: object) -> Any:  # noqa: ANN401 -- a document, as the schema says
        """The document at a path.

        Raises:
            Refused: with the exit code that says why it is missing.
        """
        given = {name: str(value) for name, value in query.items() if value is not None}
        return self._answer("GET", path, params=given)

    @contextmanager
    def download(self, *path: str, **query: object) -> Iterator[Iterator[bytes]]:
        """The pieces of a long answer as they come. Raises: Refused, also when it breaks off."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        try:
            with self._client.stream("GET", self._address(path), params=given) as response:
                if not response.is_success:
                    response.read()
                    raise refused(response)
                yield response.iter_bytes()
        except (httpx.TransportError, httpx.InvalidURL) as failed:
            raise _unreachable(self._url, failed) from None

    def post(self, *path: str, body: Document) -> Any:  # noqa: ANN401 -- see get
        """Create or act. Raises: Refused."""
        return self._answer("POST", path, json=body)

    def put(self, *path: str, body: Document) -> Any:  # noqa: ANN401 -- see get
        """Create or replace. Raises: Refused."""
        return self._answer("PUT", path, json=body)

    def _address(self, path: tuple[str, ...]) -> str:
        # A ":" stays: it stands before an action's name and occurs in no id.
        return "/".join([f"{self._url}/v1", *(quote(part, safe=":") for part in path)])

    def _answer(self, method: str, path: tuple[str, ...], **content: Any) -> Any:  # noqa: ANN401 -- httpx's own words
        try:
            response = self._client.request(method, self._address(path), **content)
        except (httpx.TransportError, httpx.InvalidURL) as failed:
            raise _unreachable(self._url, failed) from None
        if response.is_success:
            return _document(response, self._url)
        raise refused(response)


def _who() -> dict[str, str]:
    """The header that names the user to the audit, if the name fits into one."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return {}
    return {"x-turnback-actor": user} if _ACTOR.fullmatch(user) else {}


def _unreachable(url: str, failed: Exception) -> Refused:
    why = str(failed) or type(failed).__name__
    return Refused(
        ExitCode.UNREACHABLE,
        f"no gateway answers at {url} ({why}); start one with `serve`, or name another by TURNBACK_ADMIN_URL.",
    )


def _document(response: httpx.Response, url: str) -> object:
    try:
        return response.json()
    except ValueError:
        raise Refused(ExitCode.UNREACHABLE, f"what answers at {url} is not a Turnback admin listener.") from None


def refused(response: httpx.Response) -> Refused:
    """A refusal in the problem document's own words, or with the bare status where they are missing."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = None
    said = (problem or {}).get("detail") or (problem or {}).get("title") or f"HTTP {response.status_code}"
    kind = NotThere if response.status_code == 404 else Refused
    code = _CODES.get(response.status_code, ExitCode.FAILED)
    return kind(code, f"{str(said).rstrip('.')}.", problem)
