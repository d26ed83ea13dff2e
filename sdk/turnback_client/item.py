"""One label as the gateway reads it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, TypedDict, Unpack

LabelValue: TypeAlias = str | float | bool | Sequence[str | float | bool]


class Said(TypedDict, total=False):
    """A label of one prediction, beside its receipt.

    Attributes:
        model: Instead of a receipt, with one of request_id and client_key, where the model keeps all predictions;
            a name that a client chose wants the key of a source.
        label: The right answer; a list for a batch of predictions.
        value: A score, or whether an event happened, for metrics that need no label.
        metric: The model's first one if not given.
        observed_at: When it became known, with a time zone; now if not given.
        supersedes: Revision of the label that this one corrects, from 1.
    """

    model: str
    request_id: str
    client_key: str
    label: LabelValue
    value: float
    metric: str | None
    observed_at: datetime
    supersedes: int


def item(receipt: str | None = None, **said: Unpack[Said]) -> Mapping[str, object]:
    """A label on the wire. Raises: ValueError: not one label, not one prediction, or a missing time zone."""
    if ("label" in said) == ("value" in said):
        raise ValueError("give either a label or a value")
    if (receipt is not None) + ("request_id" in said) + ("client_key" in said) != 1:
        raise ValueError("give one of receipt, request_id and client_key")
    if (receipt is None) != ("model" in said):
        raise ValueError("give the model with a request_id or client_key, and only then")
    given = {name: each for name, each in {"receipt": receipt, **said}.items() if each is not None}
    observed_at = said.get("observed_at")
    if observed_at is None:
        return given
    if observed_at.tzinfo is None:
        raise ValueError("observed_at needs a time zone")
    return {**given, "observed_at": observed_at.isoformat()}
