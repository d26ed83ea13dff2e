"""Lists, page by page: how many items at once, and where the next page begins."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from app.errors import InvalidInput

_Item = TypeVar("_Item")

Limit = Annotated[int, Query(ge=1, le=200, description="Most items on one page.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[_Item]):
    """One page of a list; `next_cursor` continues it."""

    items: list[_Item]
    next_cursor: str | None = None


def after_cursor(cursor: str | None) -> str | None:
    """The id a page continues from. Raises: InvalidInput."""
    if cursor is None:
        return None
    with _refused("/query/cursor", "is not a cursor of this list"):
        return str(UUID(bytes=base64.urlsafe_b64decode(cursor + "==")))


def next_cursor(ids: list[str], limit: int) -> str | None:
    """The cursor behind a full page's last id; None when the list has ended for sure."""
    return None if len(ids) < limit else cursor_behind(ids[-1])


def cursor_behind(last_id: str) -> str:
    """The cursor that continues a list after this id."""
    return base64.urlsafe_b64encode(UUID(last_id).bytes).rstrip(b"=").decode()


@contextmanager
def _refused(field: str, why: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, binascii.Error):
        raise InvalidInput(field, why) from None
