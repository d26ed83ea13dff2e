"""What whole answers predict, protocol by protocol (all but tensors, which have a module of their own).

Rule: an answer that lacks what its protocol promises is unexpected; one that holds it is read as
far as it goes, whatever else it holds.
"""

from collections.abc import Callable, Mapping
from typing import Final

from app.domain.catalog.models import Protocol
from app.proxy.responses.decoding import Unexpected
from app.proxy.responses.tensors import RawTensors, predict
from app.proxy.responses.values import MAX_VALUES, Values, as_shares

_Object = dict[str, object]
# Where rows stand: instances asked for rows or columns, classify and regress of TF Serving.
_ROWS: Final = ("predictions", "outputs", "result")
_LABELS: Final = ("label", "class", "prediction", "predicted_label", "predicted_class")
_SCORES: Final = ("score", "probability", "confidence", "probabilities", "scores")
# What a generate answer says beside its outputs (Triton's generate extension).
_BESIDE_OUTPUTS: Final = frozenset(("id", "model_name", "model_version", "parameters"))


def read_rows(rows: object, values: Values) -> None:
    """Collect from a list of rows, or from one row."""
    for row in rows[:MAX_VALUES] if isinstance(rows, list) else (rows,):
        if len(values.predictions) >= MAX_VALUES:
            break
        _read_row(row, values)


def _read_row(row: object, values: Values) -> None:
    if isinstance(row, dict):
        _read_object(row, values)
    elif (shares := as_shares(row)) is not None:
        values.choose(shares)
    elif (classes := _as_classes(row)) is not None:
        _choose_class(classes, values)
    else:
        values.predict(row)


def _read_object(row: Mapping[str, object], values: Values) -> None:
    """Collect from a row that names its parts, or whose names are classes and values their probabilities."""
    label = next((row[name] for name in _LABELS if name in row), None)
    score = next((row[name] for name in _SCORES if name in row), None)
    shares = as_shares(score)
    if shares is not None:
        values.choose(shares, predicts=label is None)
    elif score is not None:
        values.score(score)
    if label is not None:
        values.predict(label)
    elif score is not None and shares is None:
        values.predict(score)
    elif score is None:
        _read_names(row, values)


def _read_names(row: Mapping[str, object], values: Values) -> None:
    classes = [[name, share] for name, share in row.items()]
    shares = _as_classes(classes)
    if shares is not None:
        _choose_class(shares, values)
    else:
        values.predict(dict(row))


def _as_classes(row: object) -> dict[str, float] | None:
    """A row of `[label, score]` pairs whose scores are in [0, 1], as TF Serving and TorchServe send them, or None."""
    if not isinstance(row, list) or len(row) < 2:
        return None
    classes: dict[str, float] = {}
    for pair in row:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            return None
        if type(pair[1]) is not float and type(pair[1]) is not int:
            return None
        classes[pair[0]] = pair[1]
    return classes if all(0 <= share <= 1 for share in classes.values()) else None


def _choose_class(classes: Mapping[str, float], values: Values) -> None:
    label = max(classes, key=classes.__getitem__)
    values.predictions.append(label)
    values.scores.append(float(classes[label]))


# ---------------------------------------------------------------------- protocols


def _read_v1(document: object, raw: RawTensors, values: Values) -> None:  # noqa: ARG001 -- one shape for all readers
    """KServe's first protocol, TF Serving."""
    answer = _as_object(document)
    name = next((name for name in _ROWS if name in answer), None)
    if name is None:
        raise Unexpected
    read_rows(answer[name], values)


def _read_v2(document: object, raw: RawTensors, values: Values) -> None:
    """The Open Inference Protocol, and Triton's generate beside it."""
    answer = _as_object(document)
    if "outputs" in answer:
        predict(answer["outputs"], raw, values)
        return
    said = {name: value for name, value in answer.items() if name not in _BESIDE_OUTPUTS}
    if not said or "model_name" not in answer:
        raise Unexpected
    read_rows(said, values)


def _read_mlflow(document: object, raw: RawTensors, values: Values) -> None:
    """MLflow wraps predictions; a SageMaker container answers whatever it wants."""
    if isinstance(document, dict) and "predictions" in document:
        _read_v1(document, raw, values)
    else:
        _read_any(document, raw, values)


def _read_language_model(document: object, raw: RawTensors, values: Values) -> None:  # noqa: ARG001 -- as above
    """A language model's text is nobody's to keep: its usage is read elsewhere, and only its form here."""
    answer = _as_object(document)
    if not any(isinstance(answer.get(name), list) for name in ("choices", "data", "output", "content")):
        raise Unexpected


def _read_any(document: object, raw: RawTensors, values: Values) -> None:
    """An answer no protocol describes is told by its form."""
    if not isinstance(document, dict):
        read_rows(document, values)
        return
    answer = _as_object(document)
    outputs = answer.get("outputs")
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], dict) and "datatype" in outputs[0]:
        predict(outputs, raw, values)
    elif any(name in answer for name in _ROWS):
        _read_v1(answer, raw, values)
    elif "usage" not in answer:
        read_rows(answer, values)


def _as_object(document: object) -> _Object:
    if not isinstance(document, dict):
        raise Unexpected
    return document


READERS: Final[Mapping[Protocol, Callable[[object, RawTensors, Values], None]]] = {
    Protocol.AUTO: _read_any,
    Protocol.KSERVE_V1: _read_v1,
    Protocol.TF_SERVING: _read_v1,
    Protocol.OIP_V2: _read_v2,
    Protocol.MLFLOW: _read_mlflow,
    Protocol.TORCHSERVE: _read_any,
    Protocol.BENTOML: _read_any,
    Protocol.OPENAI: _read_language_model,
    Protocol.ANTHROPIC: _read_language_model,
}
