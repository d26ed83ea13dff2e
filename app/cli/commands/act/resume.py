"""`resume`: lets a held rollout go on."""

from app.cli.options import DEFAULT_URL, Json, Model, Reason, Url
from app.cli.order import give_order


def command(model: Model, *, reason: Reason, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Let a paused, frozen or expired rollout go on."""
    give_order(url, model, "resume", reason, as_json=as_json)
