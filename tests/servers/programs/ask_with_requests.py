"""Runs in the environment of requests: what mlflow's users send to `/invocations`; prints what came as JSON."""

# mypy: disable-error-code="import-not-found, import-untyped"

import argparse
import json

import requests


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--url", required=True)
    given = arguments.parse_args()
    with requests.Session() as session:
        session.trust_env = False
        rows = '{"dataframe_split": {"columns": ["number"], "data": [[4], [9]]}}'
        answer = session.post(f"{given.url}/invocations", json=json.loads(rows), timeout=30)
        answer.raise_for_status()
        refused = session.post(f"{given.url}/invocations", json={"no such input": 1}, timeout=30)
    result = {
        "predictions": answer.json()["predictions"],
        "refused": [refused.status_code, refused.json()["error_code"]],
    }
    print(json.dumps(result))  # noqa: T201 -- it is read by the test


if __name__ == "__main__":
    main()
