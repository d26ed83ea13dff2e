"""Labels of exchanges: what one is, what it counts as beside those that are there.

Rule: a label counts once however often it is sent, and is replaced only by one that says which
revision it replaces, or by one of a higher rank; who said so first stays first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from math import inf, isfinite
from typing import NamedTuple, TypeAlias, TypeGuard

from app.domain.catalog.declarations import QualityKind, QualityMetric
from app.domain.catalog.models import ModelName, VersionName

Scalar: TypeAlias = str | float | bool
Given: TypeAlias = Scalar | list[Scalar]

# Of one exchange's labels and of a text; longer ones are no labels.
LABELS_MAX = 1_024
TEXT_MAX = 256
# Characters of all texts of one exchange: half a megabyte of one label would be kept as often as it is corrected.
TEXTS_MAX = 32_768
# Whole numbers beyond are no longer told apart once they are floats.
NUMBER_MAX = 2.0**63

# The source of labels that come without a key.
ANONYMOUS = "anonymous"

_NUMBERS = frozenset({QualityKind.ABSOLUTE_ERROR, QualityKind.SQUARED_ERROR})


class Result(StrEnum):
    """What became of one item of feedback."""

    JOINED = "joined"
    PENDING = "pending"  # waits for its exchange to be written
    DUPLICATE = "duplicate"  # there was one already; counts nothing
    ORPHAN = "orphan"  # names an exchange that nobody can have served
    UNKNOWN = "unknown"  # without a key, and names no exchange by its receipt or by the id that it was given here
    INVALID = "invalid"


class NamedBy(StrEnum):
    """How feedback names an exchange whose receipt it does not have."""

    EXCHANGE = "exchange"  # by the id that it was given here, which nobody can foretell
    REQUEST_ID = "request_id"  # by any other x-request-id: its client chose it
    CLIENT_KEY = "client_key"

    @property
    def is_clients(self) -> bool:
        """Whether clients choose such names, so that two may choose the same, and anybody may guess one."""
        return self is not NamedBy.EXCHANGE


class Rank(IntEnum):  # ADR 0144
    """Whose label counts: one of a higher rank replaces one of a lower."""

    ANONYMOUS_NAME = 0
    ANONYMOUS_RECEIPT = 1
    KEY = 2  # its source has shown its key; then it does not matter how the exchange was named

    @classmethod
    def of(cls, source: str, *, by_receipt: bool) -> "Rank":
        """The rank of a source's label, by how it named its exchange."""
        if source != ANONYMOUS:
            return cls.KEY
        return cls.ANONYMOUS_RECEIPT if by_receipt else cls.ANONYMOUS_NAME


class Exchange(NamedTuple):
    """What a label is about, as its receipt or its answer's row says."""

    id: str
    second: int
    model: ModelName
    version: VersionName
    generation: int


@dataclass(frozen=True, slots=True)
class Label:
    """One label, checked.

    Attributes:
        metric: Of the model's.
        source: Who gave it.
        given: As it was sent.
        observed_at: When the world showed it, if somebody said.
        received_at: When it was taken.
        supersedes: The revision it replaces; None for a first one.
    """

    metric: str
    source: str
    given: Given
    observed_at: datetime | None
    received_at: datetime
    supersedes: int | None = None

    @property
    def revision(self) -> int:
        """The one it would be."""
        return 1 if self.supersedes is None else self.supersedes + 1


@dataclass(frozen=True, slots=True)
class Attributed:
    """A label whose exchange is known.

    Attributes:
        slices: Of the exchange; by header only where a receipt told.
        by_receipt: Whether the label came with the receipt.
    """

    exchange: Exchange
    label: Label
    slices: dict[str, str] = field(default_factory=dict)
    by_receipt: bool = True

    @property
    def rank(self) -> Rank:
        """How much the label counts beside others."""
        return Rank.of(self.label.source, by_receipt=self.by_receipt)


@dataclass(frozen=True, slots=True)
class Named:
    """A label whose exchange is called by another name than its receipt."""

    model: ModelName
    named_by: NamedBy
    handle: str
    label: Label

    @property
    def rank(self) -> Rank:
        """How much the label counts beside others."""
        return Rank.of(self.label.source, by_receipt=False)

    @property
    def is_vouched_for(self) -> bool:
        """Whether its name is one of ours, or its source has a key: only such a label is looked up, or waits."""
        return not self.named_by.is_clients or self.label.source != ANONYMOUS


class Settled(NamedTuple):
    """What a label counts as.

    Attributes:
        revision: The one it is, or that it repeats.
        reason: Why it counts nothing, where that needs saying.
    """

    result: Result
    revision: int | None = None
    reason: str | None = None


class Said(NamedTuple):
    """A revision that is there."""

    given: Given
    rank: Rank


NO_LABEL_YET = "supersedes a revision, and there is none yet"
OUTRANKED = "a label is there that came with the exchange's receipt, and counts for more"


def settled(label: Label, rank: Rank, there: Sequence[Said]) -> Settled:  # ADR 0093
    """What a label counts as beside its source's revisions of the same metric and exchange.

    Args:
        label: The new one.
        rank: How much it counts.
        there: Revisions 1, 2, …; none counts for less than one before it.
    """
    if there and rank < there[-1].rank:
        return Settled(Result.DUPLICATE, len(there), OUTRANKED)
    if there and rank > there[-1].rank:
        # Whoever counts for more need not know that somebody else was quicker.
        return Settled(Result.JOINED, len(there) + 1)
    revision = label.revision
    if revision <= len(there) and there[revision - 1].rank == rank and same(there[revision - 1].given, label.given):
        return Settled(Result.DUPLICATE, revision)
    if there and same(there[-1].given, label.given):
        return Settled(Result.DUPLICATE, len(there))
    return _beside_another(label, there)


def _beside_another(label: Label, there: Sequence[Said]) -> Settled:
    if label.supersedes is None and there:
        return Settled(
            Result.DUPLICATE, len(there), f"another label is there; say supersedes {len(there)} to replace it"
        )
    if label.revision == len(there) + 1:
        return Settled(Result.JOINED, label.revision)
    if not there:
        return Settled(Result.INVALID, None, NO_LABEL_YET)
    return Settled(Result.INVALID, len(there), f"revision {len(there)} is the newest")


def same(left: Given, right: Given) -> bool:
    """Whether two labels are one: true is not 1, though 1 is 1.0."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) or isinstance(right, float):
        # A database gives large floats back as whole numbers, which are exact where the float was not.
        return _is_number(left, most=inf) and _is_number(right, most=inf) and float(left) == float(right)
    return type(left) is type(right) and left == right


def why_not(metric: QualityMetric, given: object, *, is_value: bool) -> str | None:
    """Why this is no label of that metric; None if it is one."""
    if metric.needs_prediction is is_value:
        return f"{metric.name} takes a {'label' if is_value else 'value'}"
    if is_value:
        return _why_no_value(metric.kind, given)
    labels = given if isinstance(given, list) else [given]
    if not 1 <= len(labels) <= LABELS_MAX:
        return f"a list holds 1 to {LABELS_MAX} labels"
    if sum(len(label) for label in labels if isinstance(label, str)) > TEXTS_MAX:
        return f"a list's texts have at most {TEXTS_MAX} characters together"
    return next((why for why in (_why_no_label(metric.kind, label) for label in labels) if why), None)


def _why_no_value(kind: QualityKind, given: object) -> str | None:
    if kind is QualityKind.EVENT:
        happened = isinstance(given, bool) or (isinstance(given, int | float) and given in {0, 1})
        return None if happened else "an event's value is true or false, 1 or 0"
    return None if _is_number(given) else "a score's value is a finite number"


def _why_no_label(kind: QualityKind, label: object) -> str | None:
    if kind in _NUMBERS:
        return None if _is_number(label) else "the label is a finite number"
    if isinstance(label, bool) or _is_number(label):
        return None
    if isinstance(label, str):
        is_text = len(label) <= TEXT_MAX and "\0" not in label
        return None if is_text else f"a label's text has at most {TEXT_MAX} characters and no NUL"
    return "a label is a text, a finite number, true or false"


def _is_number(given: object, most: float = NUMBER_MAX) -> TypeGuard[int | float]:
    """Whether it is a finite number; a whole one up to `most`."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return False
    return isfinite(given) if isinstance(given, float) else -most <= given <= most
