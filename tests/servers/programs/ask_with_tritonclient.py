"""Runs in tritonclient's environment: readiness, metadata, one inference in each encoding; prints what came as JSON."""

# mypy: disable-error-code="import-not-found"

import argparse
import json
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def inferred(client: Any, given: argparse.Namespace, *, binary: bool) -> list[float]:  # noqa: ANN401 -- tritonclient's
    """The first output for the numbers 1, 2, 3, 4; sent and asked for as bytes or as JSON."""
    numbers = np.array([1, 2, 3, 4], dtype=given.numpy_type).reshape(given.shape)
    tensor = triton.InferInput(given.input, list(numbers.shape), given.datatype)
    tensor.set_data_from_numpy(numbers, binary_data=binary)
    wanted = [triton.InferRequestedOutput(given.output, binary_data=binary)]
    # It names no type for JSON, without which KServe takes the body for bytes.
    named = {} if binary else {"Content-Type": "application/json"}
    answer = client.infer(given.model, [tensor], outputs=wanted, request_id="7", headers=named)
    return answer.as_numpy(given.output).ravel().tolist()  # type: ignore[no-any-return]


def refused(client: Any, given: argparse.Namespace) -> str:  # noqa: ANN401 -- tritonclient's
    """What the client says when the input's name is wrong."""
    tensor = triton.InferInput("no-such-input", [1, 1], given.datatype)
    tensor.set_data_from_numpy(np.ones((1, 1), dtype=given.numpy_type), binary_data=False)
    try:
        client.infer(given.model, [tensor])
    except InferenceServerException as failed:
        return str(failed.message())
    return ""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--input", required=True)
    arguments.add_argument("--output", required=True)
    arguments.add_argument("--datatype", default="FP32")
    arguments.add_argument("--numpy-type", default="float32")
    arguments.add_argument("--shape", type=int, nargs="+", default=[2, 2])
    arguments.add_argument("--json-only", action="store_true")
    given = arguments.parse_args()
    client = triton.InferenceServerClient(given.url)
    result = {
        "ready": client.is_model_ready(given.model),
        "name": client.get_model_metadata(given.model)["name"],
        "binary": [] if given.json_only else inferred(client, given, binary=True),
        "json": inferred(client, given, binary=False),
        "refused": refused(client, given),
    }
    print(json.dumps(result))  # noqa: T201 -- it is read by the test


if __name__ == "__main__":
    main()
