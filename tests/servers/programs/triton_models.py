"""Runs in pytriton's environment: a real Triton server with models that double numbers, shout words and spell."""

# mypy: disable-error-code="import-not-found, misc, untyped-decorator"

import argparse
import os
import signal
import socket
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def double(numbers: Any) -> dict[str, Any]:  # noqa: ANN401 -- numpy arrays
    if (numbers < 0).any():
        raise ValueError("negative")
    return {"doubled": numbers * 2}


@batch
def shout(words: Any) -> dict[str, Any]:  # noqa: ANN401 -- numpy arrays
    return {"shouted": np.char.upper(words.astype(bytes))}


def spell(requests: Any) -> Iterator[Any]:  # noqa: ANN401 -- numpy arrays
    """Each letter in an answer of its own; "!" raises."""
    (request,) = requests
    for letter in request.data["word"].item().decode():
        if letter == "!":
            raise ValueError(letter)
        yield [{"letter": np.array([[letter.encode()]])}]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def serve(port: int) -> None:
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_address="127.0.0.1",
        grpc_port=free_port(),
        allow_metrics=False,
        exit_timeout_secs=2,
    )
    numbers = [Tensor(name="numbers", dtype=np.float32, shape=(-1,))]
    doubled = [Tensor(name="doubled", dtype=np.float32, shape=(-1,))]
    words = [Tensor(name="words", dtype=bytes, shape=(1,))]
    shouted = [Tensor(name="shouted", dtype=bytes, shape=(1,))]
    with Triton(config=config, workspace=str(Path.cwd() / "workspace")) as triton:
        triton.bind("double", double, numbers, doubled, config=ModelConfig(max_batch_size=16))
        triton.bind("shout", shout, words, shouted, config=ModelConfig(max_batch_size=16))
        letters = [Tensor(name="letter", dtype=bytes, shape=(1,))]
        word = [Tensor(name="word", dtype=bytes, shape=(1,))]
        triton.bind("spell", spell, word, letters, config=ModelConfig(max_batch_size=16, decoupled=True))
        triton.serve()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    # The server embeds a libpython; another one than the standard library's own ends with an AttributeError.
    os.environ["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        serve(given.port)
    finally:
        # Triton's own end does not always come as far as this.
        for left in Path("/dev/shm").glob(f"pytrtion{os.getpid()}-*"):  # noqa: S108 -- where it puts its tensors
            left.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
