"""Runs in BentoML's environment: a service that adds numbers and one that tells a story piece by piece."""

# mypy: disable-error-code="import-not-found, misc, untyped-decorator"

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import bentoml


@bentoml.service
class Adder:
    def __init__(self) -> None:
        self.told = 0

    @bentoml.api
    def add(self, left: float, right: float) -> dict[str, float]:
        return {"sum": left + right}

    @bentoml.api
    async def tell(self, words: list[str]) -> AsyncIterator[str]:
        for word in words:
            yield f"{word} "
            while word == "endless":
                self.told += 1
                await asyncio.sleep(0.01)
                yield "and on "

    @bentoml.api
    def count(self) -> int:
        return self.told


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    os.environ["BENTOML_HOME"] = str(Path.cwd())
    command = str(Path(sys.executable).with_name("bentoml"))
    service = ["serve", "bentoml_service:Adder", "--working-dir", str(Path(__file__).parent)]
    address = ["--host", "127.0.0.1", "--port", str(given.port)]
    os.execv(command, [command, *service, *address])  # noqa: S606 -- words of our own


if __name__ == "__main__":
    main()
