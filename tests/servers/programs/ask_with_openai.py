"""Runs in the openai client's environment: one chat, plain and streamed; prints what came as JSON."""

# mypy: disable-error-code="import-not-found"

import argparse
import json

import openai


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--base-url", required=True)
    arguments.add_argument("--model", required=True)
    given = arguments.parse_args()
    client = openai.OpenAI(base_url=given.base_url, api_key="unused", max_retries=0)
    said = [{"role": "user", "content": "to be or not to be"}]
    plain = client.chat.completions.with_raw_response.create(model=given.model, messages=said)
    whole = plain.parse()
    chunks = list(client.chat.completions.create(model=given.model, messages=said, stream=True))
    try:
        client.chat.completions.create(model=given.model, messages=[{"role": "user", "content": "fail"}])
        error = ""
    except openai.APIStatusError as failed:
        error = f"{type(failed).__name__} {failed.status_code}"
    result = {
        "version": plain.headers["x-turnback-version"],
        "model": whole.model,
        "content": whole.choices[0].message.content,
        "tokens": whole.usage.total_tokens,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "chunks": len(chunks),
        "finish_reason": chunks[-1].choices[0].finish_reason,
        "error": error,
    }
    print(json.dumps(result))  # noqa: T201 -- it is read by the test


if __name__ == "__main__":
    main()
