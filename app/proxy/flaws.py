"""What is wrong with an answer that says 200: numbers that are none, another shape, nothing, a refusal."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Final

from app.domain.declared import Signature
from app.domain.observed import Flaw
from app.domain.tally import Counter
from app.proxy.following import Prediction, Reading

# How OpenAI and Anthropic say that an answer was withheld.
_WITHHELD: Final = frozenset(("content_filter", "refusal"))
_TEXTS: Final = ("content", "text", "refusal", "tool_calls", "function_call", "reasoning_content")


def flaws_of(reading: Reading, signature: Signature | None) -> Iterator[Flaw]:
    """Every kind of flaw of an answer that was read, each once."""
    if Counter.INVALID in reading.counters:
        yield Flaw.SCHEMA
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
    if signature.classes is not None and not {label_text(each) for each in predictions} <= set(signature.classes):
        return False
    numbers = [each for each in predictions if not isinstance(each, str)]
    low, high = signature.low, signature.high
    # What is no number is a flaw of another kind.
    return not any((low is not None and each < low) or (high is not None and each > high) for each in numbers)


def label_text(prediction: Prediction) -> str:
    """A class as a signature names it: 1.0 is "1"."""
    if isinstance(prediction, str):
        return prediction
    return str(int(prediction)) if isfinite(prediction) and prediction == int(prediction) else str(prediction)


def withheld_in(answer: Mapping[str, object]) -> Flaw | None:
    """Whether a language model's answer has nothing in it, or says that it was refused; None when neither."""
    choices = answer.get("choices")
    if isinstance(choices, list) and choices:
        return _in_choice(choices[0])
    if answer.get("stop_reason") in _WITHHELD:
        return Flaw.REFUSED
    content = answer.get("content")
    if isinstance(content, list) and "stop_reason" in answer:
        return None if content else Flaw.EMPTY
    return Flaw.EMPTY if choices == [] else None


def _in_choice(choice: object) -> Flaw | None:
    if not isinstance(choice, dict):
        return Flaw.SCHEMA
    message = choice.get("message", choice)
    if choice.get("finish_reason") in _WITHHELD or (isinstance(message, dict) and message.get("refusal")):
        return Flaw.REFUSED
    says = isinstance(message, dict) and any(message.get(name) for name in _TEXTS)
    return None if says else Flaw.EMPTY
