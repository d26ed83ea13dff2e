"""`pause`: holds the canary's weight."""

from app.cli.options import DEFAULT_URL, Json, Model, Reason, Url
from app.cli.order import give_order


def command(model: Model, *, reason: Reason, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Hold the canary's weight."""
    give_order(url, model, "pause", reason, as_json=as_json)
