"""What a platform team declares about a model's quality: metrics, slices, features, prices, references.

Rule: a declaration says what is counted and when it is complete; whether it is good enough is the policy's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.stats.histogram import Spread


class QualityKind(StrEnum):
    """How a label or a value becomes a loss; see `app.domain.evidence.loss`."""

    ACCURACY = "accuracy"  # share of predictions that equal their label
    PRECISION = "precision"  # of the predictions of the positive class
    RECALL = "recall"  # of the labels of the positive class
    F1 = "f1"
    LOG_LOSS = "log_loss"  # clipped, in nats per prediction
    BRIER = "brier"
    ABSOLUTE_ERROR = "absolute_error"  # MAE, capped
    SQUARED_ERROR = "squared_error"  # RMSE, capped
    SCORE = "score"  # a number that feedback gives, within its declared range
    EVENT = "event"  # whether something happened that is wanted: a click, a purchase, a thumb up


class Missing(StrEnum):
    """What an exchange without a label counts as once its horizon has passed."""

    IGNORED = "ignored"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class QualityMetric:
    """One measure of quality and when it is complete.

    Attributes:
        name: As feedback and policies say it.
        horizon_s: Seconds after the draw at which a label that will come has come.
        missing: What no label by then counts as.
        positive: The positive class of precision, recall and F1; for Brier and log loss the class whose
            probability the score is.
        low, high: Range of a score, or cap of a loss (low is 0 then); values beyond are clipped.
        lower_is_better: Of a score; every other kind knows by itself.
        threshold: A numeric prediction of at least so much is the positive class; None compares labels as they are.
    """

    name: str
    kind: QualityKind
    horizon_s: float = 3_600.0
    missing: Missing = Missing.IGNORED
    positive: str = "1"
    low: float = 0.0
    high: float = 1.0
    lower_is_better: bool = False
    threshold: float | None = None

    @property
    def needs_prediction(self) -> bool:
        """Whether a label says something only beside what was predicted."""
        return self.kind not in {QualityKind.SCORE, QualityKind.EVENT}

    @property
    def chooses_its_own(self) -> bool:
        """Whether the version itself chooses what its loss is a share of: fewer bad ones alone are then no merit."""
        return self.kind in {QualityKind.PRECISION, QualityKind.F1}


class RowsKept(StrEnum):
    """Of which exchanges a row with what was predicted is kept."""

    SAMPLED = "sampled"  # of those that the observation's share reads
    ALL = "all"  # so that feedback may name a request id or the client's own key


@dataclass(frozen=True, slots=True)
class Feedback:
    """How labels come back.

    Attributes:
        metrics: At least one; names differ.
        client_key_header: Request header, lower case, that holds the client's own key of a prediction; or None.
    """

    metrics: tuple[QualityMetric, ...]
    rows: RowsKept = RowsKept.SAMPLED
    client_key_header: str | None = None

    def metric(self, name: str) -> QualityMetric | None:
        """The metric of that name; None if there is none."""
        return next((each for each in self.metrics if each.name == name), None)


_WHY_UNFIT = {
    "names where the request goes, not what it is about": ("host", "forwarded", "via"),
    "frames the request, and is made anew on the way": (
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ),
    "is a secret, and what is read here is kept and shown": (
        "authorization",
        "cookie",
        "proxy-authorization",
        "api-key",
        "x-api-key",
        "x-auth-token",
        "x-csrf-token",
    ),
    "names one request, and each has another": ("x-request-id", "traceparent", "tracestate", "baggage"),
    "is told anew by every proxy on the way": ("x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
}
_UNFIT = {header: why for why, headers in _WHY_UNFIT.items() for header in headers}


def why_unfit(header: str) -> str | None:
    """Why a request header, in lower case, is neither a slice nor a client's own key; None where it may be."""
    return "is the gateway's own" if header.startswith("x-turnback-") else _UNFIT.get(header)


# What the distribution of predictions is called among those of the features.
PREDICTIONS = "predictions"

# Longer values are cut.
SLICE_VALUE_MAX = 64


@dataclass(frozen=True, slots=True)
class SliceKey:
    """By what traffic is cut into slices.

    Attributes:
        name: As findings and decisions say it.
        header: Request header, lower case; or None.
        pointer: JSON pointer into the request's body; exactly one of the two is given.
        values_max: So many values are told apart; all further ones are `spread.OTHER`.
    """

    name: str
    header: str | None = None
    pointer: str | None = None
    values_max: int = 16


@dataclass(frozen=True, slots=True)
class Feature:
    """An input whose distribution is watched: a JSON pointer into the request's body."""

    name: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Prices:
    """What a version costs, in one currency of the owner's choice; each >= 0.

    Attributes:
        per_answer, per_second, per_megabyte: Of an answer, of its time from the draw to its end, of its body.
        per_1k_prompt_tokens, per_1k_completion_tokens: As an answer says its usage.
        per_hour: Of keeping the version running at all.
        cap: No answer is counted as dearer: what makes one outlier harmless, and a test of the mean possible.
    """

    per_answer: float = 0.0
    per_second: float = 0.0
    per_megabyte: float = 0.0
    per_1k_prompt_tokens: float = 0.0
    per_1k_completion_tokens: float = 0.0
    per_hour: float = 0.0
    cap: float = 1.0


@dataclass(frozen=True, slots=True)
class Signature:
    """What a version's answers are said to look like; what is None is not checked.

    Attributes:
        classes: Every label it may predict.
        low, high: Range of its numbers.
        predictions_min: Fewer predictions in one answer are too few.
    """

    classes: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    predictions_min: int | None = None

    @property
    def says_what(self) -> bool:
        """Whether it says what is predicted, and not only how much."""
        return (self.classes, self.low, self.high) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a version was registered with beside its addresses.

    Attributes:
        offline: Its offline evaluation: metric to value, such as accuracy, f1 or a robustness suite's score.
        reference: The distributions it was trained on; empty where nobody told.
    """

    offline: Mapping[str, float] = field(default_factory=dict)
    prices: Prices | None = None
    signature: Signature | None = None
    reference: Spread = field(default_factory=Spread)
