"""`abort`: ends the rollout without a verdict on the canary."""

from app.cli.options import DEFAULT_URL, Force, Json, Model, Reason, Url
from app.cli.order import give_order


def command(
    model: Model, *, reason: Reason, force: Force = False, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """End the rollout, all traffic to stable, no verdict."""
    give_order(url, model, "abort", reason, force=force, as_json=as_json)
