"""One item of feedback: a JSON object to a label whose exchange is known or named, or the reason why not.

Rule: nothing here asks Postgres; a forged receipt and a foreign one get the same answer, and so do, to who has
no key, all names that this gateway gave nobody, whether a client chose them or not.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from app.domain.catalog.declarations import Feedback, QualityMetric, RowsKept
from app.domain.catalog.models import Model, ModelName
from app.domain.catalog.receipt import Forged, Receipt, ReceiptKey, opened
from app.domain.evidence.labels import Attributed, Exchange, Label, Named, NamedBy, Rank, Result, why_not

Checked: TypeAlias = Attributed | Named

FIELDS: Final = frozenset(
    {"receipt", "model", "request_id", "client_key", "metric", "label", "value", "observed_at", "supersedes"}
)
FUTURE_S: Final = 60.0
HANDLE_MAX: Final = 256
# Every revision is kept: who has no key must not fill a database with those of one exchange.
REVISIONS_MAX: Final = {Rank.ANONYMOUS_NAME: 4, Rank.ANONYMOUS_RECEIPT: 16, Rank.KEY: 1_000}
DAY_S: Final = 86_400
UNKNOWN: Final = (
    "no such id was given here; without a source's key a label names its exchange by the receipt, or by the"
    " x-request-id that the gateway made"
)
# Section 5.6, from 1970 on; nothing that was predicted here was observed before.
_RFC3339: Final = re.compile(
    r"(?:19[7-9]\d|[2-9]\d{3})-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class Refused(Exception):
    """The item is none; the message says why, and nothing of what was sent.

    Attributes:
        model: As far as it is known.
        result: What became of it.
    """

    def __init__(self, why: str, model: str = "", result: Result = Result.INVALID) -> None:
        super().__init__(why)
        self.model = model
        self.result = result


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no strict JSON, among others that are.

    Attributes:
        why: It is none.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Reader:  # ADR 0145
    """How items are read.

    Attributes:
        keys: Of receipts.
        is_given: Whether that is the id of an exchange that was begun here or in another process of these keys.
        declared: The model of that name, None if nobody knows it.
        keep_days: Older exchanges are forgotten.
    """

    keys: Sequence[ReceiptKey]
    is_given: Callable[[str], bool]
    declared: Callable[[ModelName], Model | None]
    keep_days: int

    def read(self, item: object, source: str, now: datetime) -> Checked:
        """The label in an item. Raises: Refused."""
        if not isinstance(item, dict):
            raise Refused(item.why if isinstance(item, BadLine) else "an item is a JSON object")
        if not FIELDS.issuperset(item):
            raise Refused("an item has only the fields " + ", ".join(sorted(FIELDS)))
        receipt = self._receipt(item)
        name, feedback = self._feedback(item, receipt)
        try:
            rank = Rank.of(source, by_receipt=receipt is not None)
            label = _label(item, feedback, source, now, REVISIONS_MAX[rank])
            if receipt is not None:
                return self._attributed(receipt, label, now)
            return self._named(item, name, feedback, label)
        except Refused as refused:
            raise Refused(str(refused), name, refused.result) from None

    def _receipt(self, item: Mapping[str, object]) -> Receipt | None:
        if "receipt" not in item:
            return None
        if {"model", "request_id", "client_key"} & item.keys():
            raise Refused("an item has a receipt, or a model and an id, and not both")
        token = item["receipt"]
        try:
            return opened(token if isinstance(token, str) else "", self.keys)
        except Forged:
            raise Refused("this is no receipt of this gateway") from None

    def _feedback(self, item: Mapping[str, object], receipt: Receipt | None) -> tuple[ModelName, Feedback]:
        said = item.get("model") if receipt is None else receipt.model
        if not isinstance(said, str):
            raise Refused("an item has a receipt, or a model and a request_id or client_key")
        model = self.declared(ModelName(said))
        if model is None:
            raise Refused("no model of that name is registered")
        if model.feedback is None:
            raise Refused("the model declares no feedback", model.name)
        return model.name, model.feedback

    def _attributed(self, receipt: Receipt, label: Label, now: datetime) -> Attributed:
        if receipt.second < now.timestamp() - self.keep_days * DAY_S:
            raise Refused(f"the exchange is older than the {self.keep_days} days that are kept")
        exchange = Exchange(receipt.exchange, receipt.second, receipt.model, receipt.version, receipt.generation)
        return Attributed(exchange, label, dict(receipt.slices))

    def _named(self, item: Mapping[str, object], name: ModelName, feedback: Feedback, label: Label) -> Named:
        named_by, handle = _handle(item, feedback)
        if named_by is NamedBy.REQUEST_ID and self.is_given(handle):
            named_by = NamedBy.EXCHANGE
        named = Named(name, named_by, handle, label)
        if not named.is_vouched_for:
            raise Refused(UNKNOWN, result=Result.UNKNOWN)
        return named


def _handle(item: Mapping[str, object], feedback: Feedback) -> tuple[NamedBy, str]:
    kinds = [kind for kind in (NamedBy.REQUEST_ID, NamedBy.CLIENT_KEY) if kind in item]
    if len(kinds) != 1:
        raise Refused("an item without a receipt has either a request_id or a client_key")
    if feedback.rows is not RowsKept.ALL:
        raise Refused("the model keeps no row of every exchange, so only a receipt can name one")
    if kinds[0] is NamedBy.CLIENT_KEY and feedback.client_key_header is None:
        raise Refused("the model declares no header with the client's own key")
    handle = item[kinds[0]]
    if not isinstance(handle, str) or not 1 <= len(handle) <= HANDLE_MAX or "\0" in handle:
        raise Refused(f"{kinds[0]} is a text of 1 to {HANDLE_MAX} characters, without NUL")
    return kinds[0], handle


def _label(item: Mapping[str, object], feedback: Feedback, source: str, now: datetime, revisions_max: int) -> Label:
    metric = _metric(item, feedback)
    if ("label" in item) is ("value" in item):
        raise Refused("an item has either a label or a value")
    is_value = "value" in item
    given = item["value" if is_value else "label"]
    reason = why_not(metric, given, is_value=is_value)
    if reason is not None or not isinstance(given, str | float | int | list):
        raise Refused(reason or "the label is of no kind that is known")
    return Label(metric.name, source, given, _observed_at(item, now), now, _supersedes(item, revisions_max))


def _metric(item: Mapping[str, object], feedback: Feedback) -> QualityMetric:
    if "metric" not in item:
        return feedback.metrics[0]
    named = item["metric"]
    metric = feedback.metric(named) if isinstance(named, str) else None
    if metric is None:
        raise Refused("the model declares no metric of that name")
    return metric


def _supersedes(item: Mapping[str, object], most: int) -> int | None:
    if "supersedes" not in item:
        return None
    revision = item["supersedes"]
    if isinstance(revision, bool) or not isinstance(revision, int) or not 1 <= revision <= most:
        raise Refused(f"supersedes is a revision, a whole number from 1 to {most} for who labels so")
    return revision


def _observed_at(item: Mapping[str, object], now: datetime) -> datetime | None:
    if "observed_at" not in item:
        return None
    said = item["observed_at"]
    if not isinstance(said, str) or _RFC3339.fullmatch(said) is None:
        raise Refused("observed_at is a time of RFC 3339, with its offset")
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise Refused("observed_at is a time of RFC 3339, with its offset") from None
    if at.timestamp() > now.timestamp() + FUTURE_S:
        raise Refused("observed_at lies in the future")
    return at.astimezone(UTC)
