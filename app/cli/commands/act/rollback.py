"""`rollback`: gives all traffic back to stable."""

from contextlib import suppress

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Force, Json, Model, Reason, Url
from app.cli.order import give_order
from app.cli.output import Refused, say
from app.terminal.text import plain

_COST_PATIENCE_S = 2.0


def command(
    model: Model, *, reason: Reason, force: Force = False, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Give all traffic back to stable now."""
    _say_cost(url, model)
    give_order(url, model, "rollback", reason, force=force, as_json=as_json)


def _say_cost(url: str, model: str) -> None:
    """Say what it costs before it is done; a gateway that does not know, or is slow to say, holds no rollback up."""
    with suppress(Refused), Gateway(url, patience_s=_COST_PATIENCE_S) as gateway:
        back = gateway.get("models", model, "cost", window_s=3_600).get("rollback")
        if back is not None and (back["per_day"] is not None or back["saved_when_stopped"]):
            say(f"{plain(back['sentence'])}.")
