"""Runs in mlflow's environment: serves a pyfunc model over `/invocations`; a negative square root is NaN."""

# mypy: disable-error-code="import-not-found, misc"

import argparse
import math
from typing import Any

import mlflow.pyfunc
import uvicorn
from mlflow.pyfunc import scoring_server


class Root(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[float]:  # noqa: ANN401 -- mlflow's own
        numbers = [float(row[0]) for row in model_input.to_numpy().tolist()]
        return [math.sqrt(number) if number >= 0 else math.nan for number in numbers]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    given = arguments.parse_args()
    mlflow.pyfunc.save_model("model", python_model=Root(), pip_requirements=[])
    app = scoring_server.init(mlflow.pyfunc.load_model("model"))
    uvicorn.run(app, host="127.0.0.1", port=given.port)


if __name__ == "__main__":
    main()
