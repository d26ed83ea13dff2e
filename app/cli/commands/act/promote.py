"""`promote`: makes the canary stable without waiting for proof."""

from app.cli.options import DEFAULT_URL, Force, Json, Model, Reason, Url
from app.cli.order import give_order


def command(
    model: Model, *, reason: Reason, force: Force = False, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Make the canary stable now."""
    give_order(url, model, "promote", reason, force=force, as_json=as_json)
