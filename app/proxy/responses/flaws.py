"""What is wrong with an answer that says 200: numbers that are none, another shape, nothing, a refusal."""

from collections.abc import Iterator, Sequence
from math import isfinite

from app.domain.catalog.declarations import Signature
from app.domain.evidence.loss import class_of
from app.domain.evidence.observed import Flaw
from app.domain.evidence.tally import Counter
from app.proxy.responses.reading import Prediction, Reading


def flaws_of(reading: Reading, signature: Signature | None) -> Iterator[Flaw]:
    """Every kind of flaw of an answer that was read, each once."""
    if Counter.INVALID in reading.counters:
        yield reading.withheld or Flaw.SCHEMA
        return
    if Counter.NONFINITE in reading.counters or not all(map(isfinite, reading.scores)):
        yield Flaw.NONFINITE
    if signature is not None and not _fits(reading.predictions, signature):
        yield Flaw.SCHEMA
    if reading.withheld is not None:
        yield reading.withheld


def _fits(predictions: Sequence[Prediction], signature: Signature) -> bool:
    if signature.predictions_min is not None and len(predictions) < signature.predictions_min:
        return False
    if signature.classes is not None and not set(map(class_of, predictions)) <= set(signature.classes):
        return False
    numbers = [each for each in predictions if not isinstance(each, str)]
    low, high = signature.low, signature.high
    # What is no number is a flaw of another kind.
    return not any((low is not None and each < low) or (high is not None and each > high) for each in numbers)
