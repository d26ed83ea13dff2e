"""`standby`: whether the version before a promotion would be better today."""

from collections.abc import Iterator

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Url
from app.cli.output import write, write_document
from app.terminal.rollouts import SYMBOLS, e_value, standby_line
from app.terminal.text import Document, columns, moment, plain

_FOUND = {
    "decay": "it has become worse; its errors are set not to roll back, so nothing follows",
    "external": "both got worse together: the cause lies outside of them",
}


def command(model: Model, *, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show a promoted version beside its standby."""
    with Gateway(url) as gateway:
        watch = gateway.get("models", model, "watch")
    if as_json:
        write_document(watch)
    else:
        write("\n".join(_lines(watch)))


def _lines(watch: Document) -> Iterator[str]:
    """A promoted version beside its standby: how both answered, and how near an alarm is."""
    if watch["ended_at"] is None:
        yield standby_line({"version": watch["standby"], "weight_bp": watch["standby_bp"], "until": watch["until"]})
    else:
        yield f"{plain(watch['standby'])} stands by no more: ended by {watch['ended_by']}, {moment(watch['ended_at'])}"
    rows = [
        (version, kind, seen[role]["answers"], f"{seen[role]['bad']:,.1f}".removesuffix(".0"))
        for kind, seen in watch["suspicions"].items()
        for role, version in (("stable", watch["stable"]), ("standby", watch["standby"]))
    ]
    yield columns(("VERSION", "BY", "ANSWERS", "BAD"), rows)
    shown = "none yet" if watch["log_m"] is None else e_value(watch["log_m"])
    yield (
        f"evidence that {plain(watch['stable'])} has become the worse one: {shown} "
        f"(rolled back at {e_value(watch['log_limit'])})"
    )
    for found in watch["found"]:
        yield f"  {SYMBOLS['inconclusive_worse']} {_FOUND[found]}"
