"""One short line about an error, for readiness and logs: of Postgres whatever it said itself."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.catalog.models import ModelName
from app.errors import DatabaseUnavailable, OutcomeUnknown

_T = TypeVar("_T")

LENGTH_MAX: Final = 200
NOT_REACHABLE: Final = "not reachable"
# Classes of SQLSTATE that a server says goodbye with: connection exception, operator intervention.
_GOODBYES: Final = ("08", "57P")
# Syntax error or access rule violation.
_ACCESS: Final = "42"
_REFUSAL: Final = "FATAL:"


def complaint(error: BaseException) -> str:
    """Why something did not work; one line."""
    if isinstance(error, DatabaseUnavailable | OutcomeUnknown):
        return error.why
    if isinstance(error, PoolTimeout):
        return "all connections are taken"
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, psycopg.Error):
        return _said_by_postgres(driver)
    return _short(f"{type(error).__name__}: {error}")


def blames_tables(error: Exception) -> bool:
    """Whether a right or a column is missing, which no other row would change."""
    driver = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(driver, psycopg.Error) and (driver.sqlstate or "").startswith(_ACCESS)


class RowUnreadable(Exception):
    """A row whose state makes no sense to this release; other rows may well."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def readable(row: Row[Any], read: Callable[[Row[Any]], _T]) -> _T:
    """The value of a row. Raises: RowUnreadable, whatever is wrong with it."""
    try:
        return read(row)
    except Exception as odd:
        raise RowUnreadable(complaint(odd)) from odd


def read_each(
    rows: Iterable[Row[Any]], read: Callable[[Row[Any]], _T], model: Callable[[Row[Any]], str]
) -> tuple[list[_T], dict[ModelName, str]]:
    """All values that can be read, and the models of the other rows, each with the reason."""
    found: list[_T] = []
    unreadable: dict[ModelName, str] = {}
    for row in rows:
        try:
            found.append(readable(row, read))
        except RowUnreadable as odd:
            unreadable[ModelName(model(row))] = odd.why
    return found, unreadable


def _said_by_postgres(error: psycopg.Error) -> str:
    if isinstance(error, errors.QueryCanceled):
        return "a statement ran out of time"
    if isinstance(error, errors.LockNotAvailable):
        return "a lock did not come free in time"
    if error.sqlstate is not None and not error.sqlstate.startswith(_GOODBYES):
        return _short(f"refused: {error.diag.message_primary or error}")
    if str(error).startswith("no answer"):
        return _short(str(error))
    # While connecting there is only text, with the address in it.
    _, fatal, said = str(error).partition(_REFUSAL)
    return _short(f"refused: {said}") if fatal else NOT_REACHABLE


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LENGTH_MAX else f"{line[: LENGTH_MAX - 1]}…"
