"""Texts of strangers made fit to be kept: short, and without what a database or a log cannot hold."""

from typing import Final

from app.domain.catalog.declarations import SLICE_VALUE_MAX
from app.proxy.responses.reading import Prediction

# Longer labels of a prediction are cut.
PREDICTION_MAX: Final = 256
_NUL: Final = "\0"


def plain(text: str) -> str:
    """At most SLICE_VALUE_MAX printable characters of it."""
    text = text[:SLICE_VALUE_MAX]
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


def storable(prediction: Prediction) -> Prediction:
    """A prediction as JSON in a database can hold it: no NUL, no half of a pair, no number that is none."""
    if isinstance(prediction, str):
        text = prediction[:PREDICTION_MAX]
        # Nothing printable is a problem, and hardly any label is anything else.
        return text if text.isprintable() else text.replace(_NUL, "").encode("utf-8", "replace").decode()
    # Only what is finite is equal to itself less itself.
    return prediction if prediction - prediction == 0.0 else str(prediction)
