"""Fields that bodies, views and queries of several resources have in common."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from app.domain.catalog.routing import FULL_BP, Weights

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
# No control characters: a reason is one line in logs, tables and terminals.
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$"),
    Field(description="Why, in one line; stored with the decision."),
]
WeightBp = Annotated[int, Field(ge=0, le=FULL_BP, description="Weight in basis points.")]
OfModel = Annotated[str | None, Query(max_length=63, description="Only of this model.")]

# RFC 3339, section 5.6; a bare date or a number of seconds is no instant anybody can agree on.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _checked_text(value: object) -> object:
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise ValueError("must be a time as RFC 3339 writes it, with an offset")
    return value


def _in_utc(time: datetime) -> datetime:
    if not 1970 <= time.year < 3000:
        raise ValueError("must lie between the years 1970 and 3000")
    return time.astimezone(UTC)


Instant = Annotated[datetime, BeforeValidator(_checked_text), AfterValidator(_in_utc)]


def pointer_part(text: str) -> str:
    """One reference token of a JSON pointer (RFC 6901, section 3)."""
    return text.replace("~", "~0").replace("/", "~1")


def shown_weights(weights_bp: Weights) -> dict[str, int]:
    """Weights as a JSON object has them."""
    return {str(name): weight for name, weight in weights_bp.items()}
