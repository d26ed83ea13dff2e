"""How labels go over the wire, and when it is worth sending them again.

Rule: nothing in here waits or connects, so that the two clients differ in nothing but `await`.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from turnback_client.errors import LabelRefused, NotTaken
from turnback_client.outcome import Outcome, outcome_of

INFER = "/v2/models/{model}/infer"
FEEDBACK = "/turnback/v1/feedback"
# The gateway takes up to 10,000 in one request.
BATCH_ITEMS = 2_000
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


def body_of(items: Sequence[Mapping[str, object]]) -> bytes:
    """Raises: ValueError: a number is not finite."""
    return json.dumps(list(items), allow_nan=False, separators=(",", ":")).encode()


def headers_of(feedback_key: str | None) -> Mapping[str, str]:
    kind = {"content-type": "application/json"}
    return kind if feedback_key is None else {**kind, "authorization": f"Bearer {feedback_key}"}


def taken(response: httpx.Response) -> Outcome | None:
    """What became of the labels; None if it is worth sending them again. Raises: LabelRefused."""
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
