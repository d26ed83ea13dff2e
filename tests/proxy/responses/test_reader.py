"""What answers of real model servers say, protocol by protocol."""

import pytest
from proxy.answering import INVALID, NONFINITE, READ, V1, V2, binary, head_of, output, read, reader, text, v2

from app.domain.catalog.models import Observation, Protocol
from app.domain.evidence.tally import Counter
from app.proxy.responses.reader import agree
from app.proxy.responses.reading import Prediction, Reading, Usage

PREDICT = output("predict", "INT64", [2], [1, 0])
PROBA = output("predict_proba", "FP64", [2, 3], [0.2, 0.5, 0.3, 0.7, 0.2, 0.1])


@pytest.mark.parametrize(
    ("path", "body", "predictions", "scores"),
    [
        # KServe's first protocol and MLflow: scalars, labelled rows, probabilities, vectors.
        (V1, {"predictions": [1, 0.5, "cat", True]}, (1.0, 0.5, "cat", 1.0), ()),
        (
            V1,
            {"predictions": [{"label": "cat", "score": 0.9}, {"class": 3, "probability": 0.5}]},
            ("cat", 3.0),
            (0.9, 0.5),
        ),
        (V1, {"predictions": [[0.2, 0.8], [0.9, 0.1]]}, (1.0, 0.0), (0.8, 0.9)),
        (V1, {"predictions": [[0.5, -3.25, 8.0]]}, (0.5, -3.25, 8.0), ()),
        (V1, {"predictions": [[[1.5, 2.5], [3.5]], []]}, (1.5, 2.5, 3.5), ()),
        (V1, {"predictions": [{"label": "a", "probabilities": [0.25, 0.75]}]}, ("a",), (0.75,)),
        (V1, {"predictions": [{"probabilities": [0.25, 0.75]}]}, (1.0,), (0.75,)),
        (V1, {"predictions": [{"score": 0.25}]}, (0.25,), (0.25,)),
        (V1, {"predictions": [{"a": 1, "b": "x"}]}, (1.0, "x"), ()),
        (V1, {"predictions": []}, (), ()),
        (V1, {"outputs": [[0.1], [0.2]]}, (0.1, 0.2), ()),
        (
            "/v1/models/m/versions/7:classify",
            {"result": [[["cat", 0.2], ["dog", 0.7]], [["cat", 0.6], ["dog", 0.4]]]},
            ("dog", "cat"),
            (0.7, 0.6),
        ),
        ("/v1/models/m/labels/canary:regress", {"result": [1.25, 2.5]}, (1.25, 2.5), ()),
        ("/invocations", {"predictions": [1.5]}, (1.5,), ()),
        ("/invocations", {"predictions": 1.5}, (1.5,), ()),
        ("/invocations", {"predictions": [{"score": 0.125, "predicted_label": 0}]}, (0.0,), (0.125,)),
        ("/invocations", [3, 4], (3.0, 4.0), ()),
        # TorchServe: what the handler likes, mostly classes and their probabilities.
        ("/predictions/resnet", {"tabby": 0.46, "tiger_cat": 0.44}, ("tabby",), (0.46,)),
        ("/predictions/resnet/2.0", 3, (3.0,), ()),
        ("/predictions/resnet", [{"label": "x", "confidence": 1}], ("x",), (1.0,)),
        # Anything else, told by its form.
        ("/score", {"predictions": [7]}, (7.0,), ()),
        ("/score", {"result": "yes"}, ("yes",), ()),
        ("/score", {"outputs": [PREDICT]}, (1.0, 0.0), ()),
        ("/score", "yes", ("yes",), ()),
        # Triton's generate extension.
        ("/v2/models/m/generate", {"model_name": "m", "model_version": "1", "text_output": "Hi"}, ("Hi",), ()),
    ],
)
def test_predictions_and_scores_are_read(
    path: str, body: object, predictions: tuple[Prediction, ...], scores: tuple[float, ...]
) -> None:
    reading = read(reader(path=path), text(body))
    assert (reading.predictions, reading.scores) == (predictions, scores)
    assert reading.counters == READ


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (V1, b'{"predictions": [NaN]}'),
        (V1, b'{"predictions": [1, -Infinity]}'),
        (V1, b'{"predictions": [1e999]}'),
        (V1, b'{"predictions": [null]}'),
        (V1, b'{"predictions": [' + b"1," * 5000 + b"NaN]}"),
        (V2, b'{"outputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, NaN]}]}'),
        (V2, b'{"outputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [null, 1]}]}'),
    ],
)
def test_what_is_no_finite_number_is_counted(path: str, body: bytes) -> None:
    assert read(reader(path=path), body).counters == NONFINITE


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (V1, b'{"error": "Model not loaded"}'),
        (V1, b'{"prediction": 1}'),
        (V1, b"[1]"),
        (V1, b"Internal Server Error"),
        (V1, b""),
        (V1, b'{"predictions": [1'),
        ("/v1/chat/completions", b'{"error": {"message": "busy"}}'),
        ("/v1/chat/completions", b'{"object": "error", "message": "busy"}'),
        ("/v1/chat/completions", b'{"id": 1}'),
        ("/score", b'{"error": "busy"}'),
    ],
)
def test_what_a_protocol_does_not_say_is_invalid(path: str, body: bytes) -> None:
    assert read(reader(path=path), body).counters == INVALID


@pytest.mark.parametrize(
    ("path", "document", "usage"),
    [
        (
            "/v1/chat/completions",
            {"choices": [{}], "usage": {"prompt_tokens": 9, "completion_tokens": 12}},
            Usage(9, 12),
        ),
        ("/v1/embeddings", {"data": [], "usage": {"prompt_tokens": 9, "total_tokens": 9}}, Usage(9, 0)),
        ("/v1/responses", {"output": [], "error": None, "usage": {"input_tokens": 3, "output_tokens": 4}}, Usage(3, 4)),
        ("/v1/messages", {"content": [], "usage": {"input_tokens": 3, "output_tokens": 4}}, Usage(3, 4)),
        ("/v1/chat/completions", {"choices": [], "usage": None}, None),
        ("/v1/chat/completions", {"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": "9"}}, None),
    ],
)
def test_a_whole_answers_usage_is_read_and_its_text_is_not(path: str, document: object, usage: Usage | None) -> None:
    reading = read(reader(path=path), text(document))
    assert (reading.usage, reading.predictions) == (usage, ())
    assert reading.counters.get(Counter.PROMPT_TOKENS) == (None if usage is None else usage.prompt)


POINTED = Observation(prediction="/data/0/verdict", score="/data/0/p")


@pytest.mark.parametrize("protocol", [Protocol.RAW, Protocol.AUTO, Protocol.BENTOML])
def test_pointers_say_where_to_read(protocol: Protocol) -> None:
    by = reader(protocol, "/score", POINTED)
    reading = read(by, text({"data": [{"verdict": "fraud", "p": 0.75}], "predictions": [1]}))
    assert (reading.predictions, reading.scores) == (("fraud",), (0.75,))
    assert reading.counters == READ
    assert read(by, text({"data": [{"verdict": "fraud"}]})).counters == INVALID
    assert read(by, text({"data": []})).counters == INVALID


def test_a_pointer_to_a_prediction_leaves_the_score_to_the_protocol() -> None:
    by = reader(Protocol.OIP_V2, V2, Observation(prediction="/parameters/decision"))
    reading = read(by, v2(PREDICT, PROBA, parameters={"decision": "deny"}))
    assert (reading.predictions, reading.scores) == (("deny",), (0.5, 0.7))


def test_a_pointer_reads_the_header_of_binary_tensors() -> None:
    body, field = binary(("x", "INT64", [1], bytes(8)))
    by = reader(Protocol.RAW, "/score", Observation(prediction="/model_version"))
    assert read(by, body, field).predictions == ("1",)


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        (Protocol.AUTO, "/v2/models/fraud"),
        (Protocol.AUTO, "/v2/models/fraud/ready"),
        (Protocol.AUTO, "/v2/models/fraud/versions/1/stats"),
        (Protocol.OIP_V2, "/v2/models/infer/ready"),
        (Protocol.KSERVE_V1, "/v1/models/fraud"),
        (Protocol.KSERVE_V1, "/v1/models/fraud:explain"),
        (Protocol.TF_SERVING, "/v1/models/fraud/metadata"),
        (Protocol.MLFLOW, "/version"),
        (Protocol.TORCHSERVE, "/explanations/fraud"),
        (Protocol.OPENAI, "/v1/models"),
        (Protocol.ANTHROPIC, "/v1/messages/count_tokens"),
    ],
)
def test_health_and_metadata_are_not_taken_for_predictions(protocol: Protocol, path: str) -> None:
    assert not reader(protocol, path).observes


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        (Protocol.AUTO, "/v2/models/fraud/versions/1/infer?x=y"),
        (Protocol.AUTO, "/m/fraud/v1/models/fraud:predict"),
        (Protocol.AUTO, "/openai/deployments/gpt/chat/completions?api-version=1"),
        (Protocol.AUTO, "/anything"),
        (Protocol.BENTOML, "/summarize"),
        (Protocol.OIP_V2, "/m/fraud/v2/models/fraud/generate"),
        (Protocol.TORCHSERVE, "/v1/models/fraud:predict"),
        (Protocol.MLFLOW, "/m/fraud/invocations"),
        (Protocol.OPENAI, "/llm/completions"),
    ],
)
def test_inference_is_told_by_its_path(protocol: Protocol, path: str) -> None:
    assert reader(protocol, path).observes


def test_a_pointer_that_is_none_reads_nothing_and_fails_nobody() -> None:
    by = reader(path=V1, observation=Observation(prediction="/predictions", score="p"))
    assert not by.observes
    assert by.follow(head_of(), sampled=True) is None


def test_many_values_are_kept_to_a_thousand() -> None:
    reading = read(reader(path=V1), text({"predictions": [{"label": n, "score": 0.5} for n in range(3000)]}))
    assert (len(reading.predictions), len(reading.scores)) == (1000, 1000)
    assert len(read(reader(path=V1), text({"predictions": [[[2.5]] * 3000]})).predictions) == 1000
    assert len(read(reader(path=V2), v2(output("x", "BYTES", [3000], ["a"] * 3000))).predictions) == 1000


def test_numbers_too_large_for_a_float_are_kept_as_text() -> None:
    digits = "9" * 400
    # The text as a whole is one only Python's own parser takes.
    assert read(reader(path=V1), f'{{"predictions": [{digits}], "x": NaN}}'.encode()).predictions == (digits,)


def said(*predictions: Prediction) -> Reading:
    return Reading(READ, predictions)


@pytest.mark.parametrize(
    ("primary", "mirror", "bodies", "verdict"),
    [
        (said(1.0, "a"), said(1.0, "a"), (b"x", b"y"), True),
        (said(1.0, "a"), said(1.0, "a"), (None, None), True),
        (said(1.0), said(1.0 + 9e-7), (b"x", b"x"), True),
        (said(1.0), said(1.0 + 2e-6), (b"x", b"x"), False),
        (said(1e9), said(1e9 + 900), (b"x", b"y"), True),
        (said(0.0), said(1e-13), (b"x", b"y"), True),
        (said(float("nan")), said(float("nan")), (b"x", b"y"), True),
        (said(float("inf")), said(float("-inf")), (b"x", b"y"), False),
        (said("a"), said("b"), (b"x", b"y"), False),
        (said("1"), said(1.0), (b"x", b"y"), False),
        (said(1.0), said(1.0, 1.0), (b"x", b"y"), False),
        (said(1.0), Reading(INVALID), (b"x", b"x"), False),
        (Reading(), Reading(), (b"x", b"x"), True),
        (Reading(), Reading(), (b"x", b"y"), False),
        (Reading(), Reading(), (None, b"y"), None),
    ],
)
def test_two_answers_agree_by_what_they_predict_else_by_their_bytes(
    primary: Reading, mirror: Reading, bodies: tuple[bytes | None, bytes | None], *, verdict: bool | None
) -> None:
    assert agree(primary, mirror, *bodies) is verdict
    assert agree(mirror, primary, *reversed(bodies)) is verdict
