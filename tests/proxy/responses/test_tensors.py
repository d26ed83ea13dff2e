"""Tensors of the Open Inference Protocol are read as what they predict."""

import struct
from math import nan

import pytest
from proxy.answering import INVALID, NONFINITE, READ, SKIPPED, V2, binary, output, read, reader, strings, v2

from app.proxy.responses.reading import Prediction

PREDICT = output("predict", "INT64", [2], [1, 0])
PROBA = output("predict_proba", "FP64", [2, 3], [0.2, 0.5, 0.3, 0.7, 0.2, 0.1])


@pytest.mark.parametrize(
    ("outputs", "predictions", "scores"),
    [
        ([PREDICT], (1.0, 0.0), ()),
        ([PREDICT, PROBA], (1.0, 0.0), (0.5, 0.7)),
        ([PROBA, PREDICT], (1.0, 0.0), (0.5, 0.7)),
        # Without a label the class is the one with the largest probability.
        ([PROBA], (1.0, 0.0), (0.5, 0.7)),
        ([output("p", "FP32", [2, 2], [[0.25, 0.75], [0.5, 0.5]])], (1.0, 0.0), (0.75, 0.5)),
        ([output("price", "FP32", [2, 1], [10.5, 20.5])], (10.5, 20.5), ()),
        ([output("price", "FP32", [2, 1], [[10.5], [20.5]])], (10.5, 20.5), ()),
        ([output("score", "FP32", [1], [0.5]), output("label", "BYTES", [1], ["cat"])], ("cat",), (0.5,)),
        ([output("score", "FP32", [1], [0.5])], (0.5,), (0.5,)),
        ([output("embedding", "FP32", [1, 3], [0.5, -2.0, 3.0])], (0.5, -2.0, 3.0), ()),
        ([output("mask", "BOOL", [2], [True, False])], (1.0, 0.0), ()),
        ([output("text", "BYTES", [2], ["a:b", "c"])], ("a:b", "c"), ()),
        # Triton's classification extension: best first in each row.
        ([output("c", "BYTES", [2], ["0.75:3:cat", "0.5:1"])], ("cat", "1"), (0.75, 0.5)),
        (
            [output("c", "BYTES", [2, 2], ["0.75:3:cat", "0.2:1:dog", "9.5:0:a:b", "-1e-3:2:x"])],
            ("cat", "a:b"),
            (0.75, 9.5),
        ),
        ([output("none", "INT64", [0], [])], (), ()),
        ([output("scalar", "INT64", [], [7])], (7.0,), ()),
        ([], (), ()),
    ],
)
def test_tensors_are_read_as_labels_and_probabilities(
    outputs: list[object], predictions: tuple[Prediction, ...], scores: tuple[float, ...]
) -> None:
    reading = read(reader(path=V2), v2(*outputs, parameters=None))
    assert (reading.predictions, reading.scores) == (predictions, scores)
    assert reading.counters == READ


@pytest.mark.parametrize(
    ("outputs", "predictions", "scores"),
    [
        # As Triton 2.51 sent it: two scores, then two labels.
        (
            [
                ("score", "FP32", [2, 1], bytes.fromhex("f55d7f3fbc0b223b")),
                ("label", "INT64", [2], bytes.fromhex("01000000000000000000000000000000")),
            ],
            (1.0, 0.0),
            (0.99752742, 0.0024726232),
        ),
        ([("x", "FP64", [1], struct.pack("<d", 2.5))], (2.5,), ()),
        ([("x", "FP16", [2], struct.pack("<2e", 1.5, -2))], (1.5, -2.0), ()),
        ([("x", "BF16", [2], bytes.fromhex("c03f00c0"))], (1.5, -2.0), ()),
        ([("x", "BOOL", [2], b"\x01\x00")], (1.0, 0.0), ()),
        ([("x", "UINT8", [2], b"\xff\x00")], (255.0, 0.0), ()),
        ([("x", "INT16", [1], b"\xfe\xff")], (-2.0,), ()),
        ([("x", "UINT32", [1], b"\x00\x00\x00\x80")], (2147483648.0,), ()),
        ([("x", "BYTES", [2], strings(b"cat", "häh".encode()))], ("cat", "häh"), ()),
        ([("x", "BYTES", [1], strings(b"\xff"))], ("\ufffd",), ()),
        ([("x", "BYTES", [1, 2], strings(b"0.75:3:cat", b"0.25:1:dog"))], ("cat",), (0.75,)),
        ([("p", "FP32", [1, 2], struct.pack("<2f", 0.25, 0.75))], (1.0,), (0.75,)),
    ],
)
def test_binary_tensors_are_read(
    outputs: list[tuple[str, str, list[int], bytes]], predictions: tuple[Prediction, ...], scores: tuple[float, ...]
) -> None:
    body, field = binary(*outputs)
    reading = read(reader(path=V2), body, "content-type: application/octet-stream", field, step=7)
    assert reading.counters == READ
    assert reading.predictions == predictions
    assert reading.scores == pytest.approx(scores)


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_a_nan_anywhere_in_a_binary_tensor_is_noticed(datatype: str) -> None:
    code, size = {"FP16": ("e", 2), "BF16": ("f", 2), "FP32": ("f", 4), "FP64": ("d", 8)}[datatype]
    data = bytearray(size * 5000)
    body, field = binary(("x", datatype, [5000], bytes(data)))
    assert read(reader(path=V2), body, field).counters == READ
    data[-size:] = struct.pack("<" + code, nan)[-size:]
    body, field = binary(("x", datatype, [5000], bytes(data)))
    reading = read(reader(path=V2), body, field)
    assert reading.counters == NONFINITE
    assert len(reading.predictions) == 1000


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "x", "outputs": []}',
        b'{"outputs": {}}',
        b'{"outputs": [1]}',
        b'{"model_name": "m"}',
        v2(output("x", "INT64", [2], [1])),
        v2(output("x", "INT64", [-1], [1])),
        v2(output("x", "INT64", [True], [1])),
        v2(output("x", "INT64", [1] * 40, [1])),
        v2(output("x", "INT64", [1], ["1"])),
        v2(output("x", "INT64", [1], [{}])),
        v2(output("x", "FLOAT", [1], [1])),
        v2(output("x", "INT64", [1], 1)),
        v2(output("x", "INT64", [1], None, parameters={"binary_data_size": 8})),
        b'{"outputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [' + b"9" * 400 + b"]}]}",
    ],
)
def test_what_are_no_tensors_is_invalid(body: bytes) -> None:
    assert read(reader(path=V2), body).counters == INVALID


@pytest.mark.parametrize(
    ("shape", "size", "data"),
    [
        ([2], 8, bytes(8)),
        ([1], 9, bytes(9)),
        ([1], 16, bytes(8)),
        ([1], -8, bytes(8)),
        ([1], 8.0, bytes(8)),
        ([1 << 80], 8, bytes(8)),
    ],
)
def test_a_binary_tensor_of_another_size_than_said_is_invalid(shape: list[int], size: object, data: bytes) -> None:
    tensor = {"name": "x", "datatype": "INT64", "shape": shape, "parameters": {"binary_data_size": size}}
    header = v2(tensor)
    field = f"inference-header-content-length: {len(header)}"
    assert read(reader(path=V2), header + data, field).counters == INVALID


@pytest.mark.parametrize("data", [b"", b"\x01", strings(b"a")[:-1], strings(b"a", b"b"), b"\xff\xff\xff\xffa"])
def test_strings_that_do_not_fill_their_tensor_are_invalid(data: bytes) -> None:
    body, field = binary(("x", "BYTES", [1], data))
    assert read(reader(path=V2), body, field).counters == INVALID


def test_a_raw_binary_answer_is_skipped() -> None:
    assert read(reader(path=V2), bytes(8), "inference-header-content-length: 0").counters == SKIPPED
