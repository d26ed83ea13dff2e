"""`cost`: how dear each version's answers were."""

from collections.abc import Iterator

from app.cli.figures import number
from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Url, Window
from app.cli.output import write, write_document
from app.cli.spans import seconds_of
from app.terminal.text import Document, columns, plain

_HEAD = ("VERSION", "ANSWERS", "PER S", "PER ANSWER", "PER DAY", "RUNNING/H", "SECONDS", "MB", "TOKENS IN/OUT")


def command(model: Model, *, window: Window = "1d", url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show costs per answer and per day, of standing by, and of a rollback."""
    with Gateway(url) as gateway:
        shown = gateway.get("models", model, "cost", window_s=int(seconds_of("--window", window)))
    if as_json:
        write_document(shown)
    else:
        write("\n".join(_lines(shown)))


def _lines(shown: Document) -> Iterator[str]:
    yield columns(_HEAD, map(_row, shown["versions"]))
    for kept in shown["kept_warm"]:
        yield f"keeping {plain(kept['version'])} running as {plain(kept['role'])}: {number(kept['per_day'])} a day"
    if shown["rollback"] is not None:
        yield plain(shown["rollback"]["sentence"])


def _row(version: Document) -> tuple[object, ...]:
    tokens = [number(version[f"{kind}_tokens_per_answer"]) for kind in ("prompt", "completion")]
    return (
        version["version"],
        version["exchanges"],
        number(version["answers_per_s"]),
        *(number(version[name]) for name in ("cost_per_answer", "cost_per_day", "per_hour", "seconds_per_answer")),
        number(version["megabytes_per_answer"]),
        "/".join(tokens),
    )
