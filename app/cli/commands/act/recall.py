"""`recall`: the answers of a version that was rolled back, called back, listed and fetched."""

import sys
from codecs import iterdecode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Url
from app.cli.output import Refused, say, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.text import Document, columns, moment, plain

_PAGE = 200


class Format(StrEnum):
    """The formats of a list."""

    NDJSON = "ndjson"
    CSV = "csv"


def command(
    what: Annotated[str, typer.Argument(metavar="MODEL|ID", help="A model, or one recall.")],
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Call back what it answered.")] = None,
    *,
    reason: Annotated[str | None, typer.Option("-m", "--reason", help="Why, in one line; with a version.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339; with a version.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339; with a version.")] = None,
    form: Annotated[Format, typer.Option("--format", help="Of a list.")] = Format.NDJSON,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Where a list goes, if not to stdout.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List a model's recalls, call a version's answers back, or fetch the list of a recall."""
    with Gateway(url) as gateway:
        if version is not None:
            asked = {"version": version, "reason": reason, "since": since, "until": until}
            _call_back(gateway, what, asked, as_json=as_json)
        elif _is_id(what):
            _fetch(gateway, what, form, output, as_json=as_json)
        else:
            _list(gateway, what, as_json=as_json)


def _is_id(word: str) -> bool:
    try:
        UUID(word)
    except ValueError:
        return False
    return True


def _call_back(gateway: Gateway, model: str, asked: Document, *, as_json: bool) -> None:
    if asked["reason"] is None:
        raise Refused(ExitCode.USAGE, "`recall MODEL VERSION` wants -m REASON.")
    body = {name: value for name, value in asked.items() if value is not None}
    made = gateway.post("models", model, "recalls", body=body)
    if as_json:
        write_document(made)
    else:
        write(_figures(made))


def _figures(found: Document) -> str:
    recalled = found["recall"]
    later = "; more may still arrive" if found["arriving"] else ""
    return (
        f"{plain(recalled['model'])} {plain(recalled['version'])}: {found['listed']} answers listed of "
        f"{found['answered']} given, {found['failed']} failed, {moment(recalled['since'])} to "
        f"{moment(recalled['until'])}{later}\n"
        f"  {plain(recalled['reason'])}\n  recall {plain(recalled['id'])}"
    )


def _list(gateway: Gateway, model: str, *, as_json: bool) -> None:
    gateway.get("models", model)
    listed = list(_all(gateway, model))
    if as_json:
        write_document({"items": listed, "next_cursor": None})
        return
    rows = [
        (moment(each["at"]), each["version"], moment(each["since"]), moment(each["until"]), each["id"], each["reason"])
        for each in listed
    ]
    write(columns(("AT", "VERSION", "SINCE", "UNTIL", "ID", "WHY"), rows))


def _all(gateway: Gateway, model: str) -> Iterator[Document]:
    cursor = None
    while True:
        page = gateway.get("recalls", model=model, limit=_PAGE, cursor=cursor)
        yield from page["items"]
        if len(page["items"]) < _PAGE:
            return
        cursor = page["next_cursor"]


def _fetch(gateway: Gateway, recall_id: str, form: Format, output: Path | None, *, as_json: bool) -> None:
    """Write the list; to a file it goes whole or not at all."""
    found = gateway.get("recalls", recall_id)
    if as_json and output is None:
        write_document(found)
        return
    with gateway.download("recalls", recall_id, "answers", format=form) as pieces:
        if output is None:
            for text in iterdecode(pieces, "utf-8"):
                sys.stdout.write(text)
        else:
            _save(pieces, output)
    if as_json:
        write_document(found)
    else:
        say(_figures(found))


def _save(pieces: Iterable[bytes], output: Path) -> None:
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(pieces)
        part.replace(output)
    except OSError as failed:
        raise Refused(ExitCode.FAILED, f"{plain(output)} cannot be written ({failed.strerror}).") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
