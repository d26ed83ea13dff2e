"""A model's answer and what the gateway adds to it."""

from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of any status.

    Attributes:
        response: All of it, as httpx has it.
    """

    response: httpx.Response

    @property
    def status_code(self) -> int:
        return self.response.status_code

    @property
    def receipt(self) -> str | None:
        """The receipt that feedback must bring back; None where no version answered."""
        return _said(self.response, "x-turnback-receipt")

    @property
    def version(self) -> str | None:
        """The version that answered; None where none did."""
        return _said(self.response, "x-turnback-version")

    @property
    def request_id(self) -> str | None:
        """The id for logs and for looking an exchange up; only the receipt proves anything."""
        return _said(self.response, "x-request-id")

    def json(self) -> Any:  # noqa: ANN401 -- whatever the model says
        return self.response.json()

    def raise_for_status(self) -> "Answer":
        """Return this answer. Raises: httpx.HTTPStatusError: the status is 400 or more."""
        self.response.raise_for_status()
        return self


def _said(response: httpx.Response, header: str) -> str | None:
    said: str | None = response.headers.get(header)
    return said
