"""How labels go over the wire, and when it is worth sending them again.

Rule: nothing in here waits or connects, so that the two clients differ in nothing but `await`.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from turnback_client.errors import LabelRefused, NotTaken
from turnback_client.outcome import Outcome, outcome_of

INFER = "/v2/models/{model}/infer"
FEEDBACK = "/turnback/v1/feedback"
# The gateway takes up to 10,000 in one request, and 8 MiB.
BATCH_ITEMS = 2_000
BATCH_BYTES = 4 * 1024 * 1024
# Larger whole numbers are no labels, and many readers of JSON know none.
NUMBER_MAX = 2**63
# The gateway restarts, its spool is full, or something in between is busy.
BUSY = frozenset({429, 502, 503, 504})
PAUSE_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often labels are sent, and how long is waited in between.

    Attributes:
        attempts: At least 1.
        pause_s: After the first attempt; doubles with each, up to 30 s, and up to half of it is left to chance.
    """

    attempts: int = 6
    pause_s: float = 0.25


class Attempts:
    """How often one request has failed."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failed = 0

    def lost(self, error: httpx.TransportError) -> float:
        """Seconds to wait after a request without an answer. Raises: NotTaken: it was the last attempt."""
        return self._pause(repr(error))

    def busy(self, response: httpx.Response) -> float:
        """Seconds to wait after an answer that says to come back. Raises: NotTaken: it was the last attempt."""
        pause_s = self._pause(f"it answered {response.status_code}")
        asked = response.headers.get("retry-after", "")
        return max(pause_s, min(PAUSE_MAX_S, float(asked))) if asked.isdecimal() else pause_s

    def _pause(self, why: str) -> float:
        self._failed += 1
        if self._failed >= self._patience.attempts:
            raise NotTaken(f"the gateway took no labels in {self._failed} attempts: {why}")
        # Many clients that failed together must not come back together.
        chance = random.uniform(0.5, 1.0)  # noqa: S311 -- no secret
        return min(PAUSE_MAX_S, self._patience.pause_s * 2.0 ** (self._failed - 1)) * chance


def asked(payload: object, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """An inference as httpx sends it: bytes as they are, anything else as JSON."""
    content = {"content": payload} if isinstance(payload, bytes) else {"json": payload}
    return {**content, "headers": dict(headers or {})}


def written(item: Mapping[str, object]) -> bytes:
    """An item as JSON. Raises: ValueError: a gateway cannot read it, and would refuse the whole batch with it."""
    try:
        # Text that is not Unicode is found out by encoding it.
        as_json = json.dumps(item, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise ValueError(f"this is no label: {problem}") from None
    if len(as_json) > BATCH_BYTES or any(map(_is_too_large, item.values())):
        raise ValueError("this is no label: it is too large")
    return as_json


def _is_too_large(said: object) -> bool:
    if isinstance(said, Sequence) and not isinstance(said, str):
        return any(map(_is_too_large, said))
    return isinstance(said, int) and abs(said) > NUMBER_MAX


def body_of(items: Iterable[bytes]) -> bytes:
    """A request's body of written items."""
    return b"[" + b",".join(items) + b"]"


def fitting(items: Sequence[bytes], items_max: int) -> int:
    """How many of the first ones go into one request; at least one, if there are any."""
    size = 0
    for at, item in enumerate(items[:items_max]):
        size += len(item) + 1
        if at and size > BATCH_BYTES:
            return at
    return min(len(items), items_max)


def headers_of(feedback_key: str | None) -> Mapping[str, str]:
    kind = {"content-type": "application/json"}
    return kind if feedback_key is None else {**kind, "authorization": f"Bearer {feedback_key}"}


def taken(response: httpx.Response) -> Outcome | None:
    """The outcome of the labels; None if it is worth sending them again. Raises: LabelRefused."""
    if response.status_code in BUSY:
        return None
    if not response.is_success:
        raise LabelRefused(response.status_code, _why(response))
    return outcome_of(response.json())


def _why(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return response.text[:200]
    return str(problem.get("detail") or problem.get("title") or "")
