"""Declarations about the quality of a model and its versions, as the admin API takes them in."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, Strict, StringConstraints

from app.domain.catalog.declarations import (
    PREDICTIONS,
    Credentials,
    Feature,
    Feedback,
    Missing,
    Prices,
    QualityKind,
    QualityMetric,
    RowsKept,
    Signature,
    SliceKey,
    why_unfit,
)
from app.domain.catalog.json_pointer import MAX_LENGTH, json_pointer
from app.domain.stats.histogram import Spread, histogram_of
from app.errors import InvalidInput
from app.web.strict_body import Body

DAY_S = 86_400.0
METRICS_MAX, SLICE_KEYS_MAX, SLICE_VALUES_MAX, FEATURES_MAX, SAMPLES_MAX = 8, 4, 100, 100, 10_000

Plain = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
HeaderName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")]
Class = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
InRequest = Annotated[str, Field(max_length=MAX_LENGTH, description="JSON pointer (RFC 6901) into the request.")]
Amount = Annotated[float, Field(ge=0.0, le=1e9)]
Bound = Annotated[float, Field(ge=-1e12, le=1e12)]


class QualityMetricBody(Body):
    """One measure of quality and when it is complete."""

    name: Plain
    kind: Annotated[QualityKind, Strict(False)]
    horizon_s: Annotated[
        float, Field(gt=0.0, le=90 * DAY_S, description="Seconds after an answer at which its label has come.")
    ] = 3_600.0
    missing: Annotated[Missing, Strict(False), Field(description="What an answer without a label counts as then.")] = (
        Missing.IGNORED
    )
    positive: Annotated[Class, Field(description="The positive class.")] = "1"
    low: Annotated[Bound, Field(description="Of a score: its least value.")] = 0.0
    high: Annotated[Bound, Field(description="Of a score: its greatest value; of a loss: where it is capped.")] = 1.0
    lower_is_better: bool = False
    threshold: Annotated[
        Bound | None, Field(description="A numeric prediction of at least so much is class 1, else class 0.")
    ] = None

    def to_domain(self, field: str) -> QualityMetric:
        """Raises: InvalidInput."""
        if not self.low < self.high:
            raise InvalidInput(f"{field}/high", "must lie above low")
        return QualityMetric(**self.model_dump())


class FeedbackBody(Body):
    """How labels come back."""

    metrics: Annotated[tuple[QualityMetricBody, ...], Strict(False), Field(min_length=1, max_length=METRICS_MAX)]
    rows: Annotated[
        RowsKept, Strict(False), Field(description="all, so that labels may name a request id or the client's own key.")
    ] = RowsKept.SAMPLED
    client_key_header: HeaderName | None = None

    def to_domain(self) -> Feedback:
        """Raises: InvalidInput."""
        _check_names([each.name for each in self.metrics], "/feedback/metrics")
        _check_header(self.client_key_header, "/feedback/client_key_header")
        metrics = tuple(each.to_domain(f"/feedback/metrics/{place}") for place, each in enumerate(self.metrics))
        return Feedback(metrics, self.rows, self.client_key_header)


class SliceKeyBody(Body):
    """By what traffic is cut: a request header or a place in the request."""

    name: Plain
    header: HeaderName | None = None
    pointer: InRequest | None = None
    values_max: Annotated[int, Field(ge=1, le=SLICE_VALUES_MAX, description="Further values are `other`.")] = 16

    def to_domain(self, field: str) -> SliceKey:
        """Raises: InvalidInput."""
        if (self.header is None) == (self.pointer is None):
            raise InvalidInput(field, "must name a header or a pointer, and not both")
        _check_header(self.header, f"{field}/header")
        if self.pointer is not None:
            json_pointer(self.pointer, f"{field}/pointer")
        return SliceKey(self.name, self.header, self.pointer, self.values_max)


class FeatureBody(Body):
    """An input whose distribution is watched."""

    name: Plain
    pointer: InRequest

    def to_domain(self, field: str) -> Feature:
        """Raises: InvalidInput."""
        _check_feature(self.name, f"{field}/name")
        json_pointer(self.pointer, f"{field}/pointer")
        return Feature(self.name, self.pointer)


def slice_keys(bodies: Sequence[SliceKeyBody]) -> tuple[SliceKey, ...]:
    """Raises: InvalidInput."""
    _check_names([each.name for each in bodies], "/slices")
    if sum(each.values_max for each in bodies) > SLICE_VALUES_MAX:
        raise InvalidInput("/slices", f"all values_max together must be {SLICE_VALUES_MAX} at most")
    return tuple(each.to_domain(f"/slices/{place}") for place, each in enumerate(bodies))


def features(bodies: Sequence[FeatureBody]) -> tuple[Feature, ...]:
    """Raises: InvalidInput."""
    _check_names([each.name for each in bodies], "/features")
    return tuple(each.to_domain(f"/features/{place}") for place, each in enumerate(bodies))


def _check_names(names: Sequence[str], field: str) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidInput(f"{field}/{place}/name", "was named before")


def _check_header(header: str | None, field: str) -> None:
    why = None if header is None else why_unfit(header)
    if why is not None:
        raise InvalidInput(field, f"must be another header: {header} {why}")


def _check_feature(name: str, field: str) -> None:
    if name == PREDICTIONS:
        raise InvalidInput(field, f"must not be {PREDICTIONS}: what answers predict is called so beside the features")


class PricesBody(Body):
    """What a version costs, in one currency of the owner's choice."""

    per_answer: Amount = 0.0
    per_second: Amount = 0.0
    per_megabyte: Amount = 0.0
    per_1k_prompt_tokens: Amount = 0.0
    per_1k_completion_tokens: Amount = 0.0
    per_hour: Annotated[Amount, Field(description="Of keeping it running at all.")] = 0.0
    cap: Annotated[float, Field(gt=0.0, le=1e9, description="No answer counts as dearer; at least per_answer.")] = 1.0

    def to_domain(self) -> Prices:
        """Raises: InvalidInput."""
        if self.cap < self.per_answer:
            raise InvalidInput("/credentials/prices/cap", "must be at least per_answer, or all answers cost the same")
        return Prices(**self.model_dump())


class SignatureBody(Body):
    """What a version's answers look like; what is absent is not checked."""

    classes: Annotated[Annotated[tuple[Class, ...], Strict(False)] | None, Field(min_length=1, max_length=1_000)] = None
    low: Bound | None = None
    high: Bound | None = None
    predictions_min: Annotated[int | None, Field(ge=1, le=1_000)] = None

    @property
    def is_empty(self) -> bool:
        """Whether no number lies in the range."""
        return self.low is not None and self.high is not None and self.low > self.high


Sample = Annotated[
    tuple[Annotated[float, Strict(False)] | Class | None, ...], Strict(False), Field(max_length=SAMPLES_MAX)
]


class ReferenceBody(Body):
    """A sample of what a version was trained on; kept as a distribution, never value by value."""

    features: Annotated[dict[Plain, Sample], Field(max_length=FEATURES_MAX)] = Field(default_factory=dict)
    predictions: Sample = ()

    def to_domain(self) -> Spread:
        """Raises: InvalidInput."""
        for name in self.features:
            _check_feature(name, f"/credentials/reference/features/{name}")
        return Spread(
            histogram_of(self.predictions), {name: histogram_of(values) for name, values in self.features.items()}
        )


class CredentialsBody(Body):
    """What a version is registered with beside its addresses."""

    offline: Annotated[dict[Plain, Bound], Field(max_length=50)] = Field(
        default_factory=dict, description="Offline evaluation: metric to value."
    )
    prices: PricesBody | None = None
    signature: SignatureBody | None = None
    reference: ReferenceBody | None = None

    def to_domain(self) -> Credentials:
        """Raises: InvalidInput."""
        signature = self.signature
        if signature is not None and signature.is_empty:
            raise InvalidInput("/credentials/signature/high", "must not lie below low")
        return Credentials(
            dict(self.offline),
            None if self.prices is None else self.prices.to_domain(),
            None if signature is None else Signature(**signature.model_dump()),
            Spread() if self.reference is None else self.reference.to_domain(),
        )
