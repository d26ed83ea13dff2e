"""Runs in LitServe's environment: a chat model that says the last message back, word by word.

"fail" in the message raises, "lengthy" takes two seconds.
"""

# mypy: disable-error-code="import-not-found, misc"

import argparse
import time
from collections.abc import Iterator
from typing import Any

import litserve


class Echo(litserve.LitAPI):
    def setup(self, device: str) -> None:
        """There is no model to load."""

    def predict(self, request: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 -- LitServe's own type
        for word in str(request.messages[-1].content).split():
            if word == "fail":
                raise ValueError(word)
            for _ in range(100 if word == "lengthy" else 0):
                time.sleep(0.02)
                yield {"role": "assistant", "content": "and on "}
            # LitServe adds up what each piece reports.
            counts = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
            yield {"role": "assistant", "content": f"{word} ", **counts}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    server = litserve.LitServer(Echo(spec=litserve.OpenAISpec()), accelerator="cpu")
    server.run(host="127.0.0.1", port=arguments.parse_args().port, generate_client_file=False)


if __name__ == "__main__":
    main()
