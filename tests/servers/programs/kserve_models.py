"""Runs in the KServe SDK's environment: a model that doubles numbers, over v1 and v2, and one that streams.

The streaming model tells how many pieces it has made when it is asked for "count".
"""

# mypy: disable-error-code="import-not-found, misc"

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kserve
import kserve.protocol.rest.server as rest
import uvicorn


class Double(kserve.Model):
    """Adds `bias`, by which two copies can be told apart."""

    def __init__(self, name: str, bias: float) -> None:
        super().__init__(name)
        self.bias = bias
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ANN401 -- KServe's types
        if isinstance(payload, kserve.InferRequest):
            doubled = payload.inputs[0].as_numpy() * 2 + self.bias
            output = kserve.InferOutput("doubled", list(doubled.shape), "FP32")
            output.set_data_from_numpy(doubled, binary_data=False)
            return kserve.InferResponse(
                payload.id,
                self.name,
                [output],
                use_binary_outputs=payload.use_binary_outputs,
                requested_outputs=payload.request_outputs,
            )
        return {"predictions": [[2 * number + self.bias for number in row] for row in payload["instances"]]}


class Storyteller(kserve.Model):
    def __init__(self) -> None:
        super().__init__("story")
        self.ready = True
        self.told = 0

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ANN401 -- KServe's types
        if payload["instances"] == ["count"]:
            return {"predictions": [self.told]}
        return self.tell(payload["instances"])

    async def tell(self, words: list[str]) -> AsyncIterator[str]:
        for word in words:
            yield f"{word}\n"
            while word == "endless":
                await asyncio.sleep(0.01)
                self.told += 1
                yield "and on\n"


class LoopbackOnly(uvicorn.Config):
    """KServe has no setting for the address it listens on."""

    def __init__(self, app: Any, host: str, **settings: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(app, host="127.0.0.1", **settings)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--bias", type=float, default=0.0)
    given = arguments.parse_args()
    rest.uvicorn.Config = LoopbackOnly
    server = kserve.ModelServer(http_port=given.port, enable_grpc=False, workers=1)
    server.start([Double("double", given.bias), Storyteller()])


if __name__ == "__main__":
    main()
