"""Runs in MLServer's environment: trains a small scikit-learn model and serves it, beside one that streams.

Everything it writes goes into the working directory.
"""

# mypy: disable-error-code="import-not-found, misc"

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import joblib
import mlserver
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


class Storyteller(mlserver.MLModel):
    """Streams a piece per word, and goes on after "endless"; asked plainly, it says how many it made of those."""

    async def load(self) -> bool:
        self.told = 0
        return True

    async def predict(self, payload: Any) -> Any:  # noqa: ANN401 -- MLServer's own
        return self._piece(str(self.told))

    async def predict_stream(self, payloads: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for payload in payloads:
            for word in mlserver.codecs.StringCodec.decode_input(payload.inputs[0]):
                yield self._piece(word)
                while word == "endless":
                    self.told += 1
                    await asyncio.sleep(0.01)
                    yield self._piece("and on")

    def _piece(self, word: str) -> Any:  # noqa: ANN401 -- MLServer's own
        output = mlserver.codecs.StringCodec.encode_output("piece", [word])
        return mlserver.types.InferenceResponse(model_name=self.name, id="7", outputs=[output])


def train(folder: Path) -> None:
    """An iris classifier, the same each time."""
    folder.mkdir()
    features, classes = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=500).fit(features, classes), folder / "model.joblib")
    describe(folder, "mlserver_sklearn.SKLearnModel", {"uri": "model.joblib", "version": "1"})


def describe(folder: Path, implementation: str, parameters: dict[str, str]) -> None:
    settings = {"name": folder.name, "implementation": implementation, "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(settings))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    train(Path("iris"))
    Path("story").mkdir()
    describe(Path("story"), "mlserver_models.Storyteller", {"version": "1"})
    settings = {
        "host": "127.0.0.1",
        "http_port": given.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "gzip_enabled": True,
    }
    Path("settings.json").write_text(json.dumps(settings))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    command = str(Path(sys.executable).with_name("mlserver"))
    os.execv(command, [command, "start", "."])  # noqa: S606 -- words of our own


if __name__ == "__main__":
    main()
