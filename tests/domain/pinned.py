"""What the engine has answered to fixed questions, kept beside the tests: a change of any answer is seen.

Rule: pinned answers say that nothing changed, not that it was right; what is right is in the other tests and in
`vectors.json`. After a change that is meant, `PYTHONPATH=.:tests python tests/domain/pinned.py` writes them anew,
for the review to read.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from domain import counted, figures, readings, values, walks
from pydantic import ConfigDict, TypeAdapter

HERE = Path(__file__).parent
QUESTIONS = {**figures.QUESTIONS, **readings.QUESTIONS, **values.QUESTIONS}
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))


def figured(question: str) -> object:
    """What the functions of one question answer, JSON values only."""
    return _as_pinned(_ANYTHING.dump_python(QUESTIONS[question](), mode="json"))


def _as_pinned(value: Any) -> Any:  # noqa: ANN401 -- JSON's own types
    """Evidence in the shape it had when it was pinned: outcomes summed up, `recent_exchanges` null for exchanges."""
    if isinstance(value, list):
        return [_as_pinned(each) for each in value]
    if not isinstance(value, dict):
        return value
    value = {name: _as_pinned(each) for name, each in value.items()}
    if value.keys() == {"drawn", "outcomes", "timed", "slow", "awaited"}:
        count: Counter[str] = Counter(value.pop("outcomes"))
        value["ended"] = count.total()
        value["judged"] = count.total() - count["cancelled"]
        value["errors"] = count["upstream_error"] + count["connect_error"] + count["overloaded"]
        value["timeouts"] = count["timeout"]
    if "outcomes_before" in value:
        del value["outcomes_before"]
        if not value.pop("per_caller"):
            value["recent_exchanges"] = None
    return value


# File, the questions in it, and what answers each of them.
PINNED: Mapping[str, tuple[Iterable[str], Callable[[str], Any]]] = {
    "walks.json": (walks.STATES, walks.answers),
    "counted.json": (counted.BY_WEIGHT, counted.answers),
    "figures.json": (QUESTIONS, figured),
}


def rounded(value: object) -> object:
    """The same with twelve significant digits: libraries differ in the last ones."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {str(key): rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def write() -> None:
    for name, (questions, answer) in PINNED.items():
        answers = {question: rounded(answer(question)) for question in questions}
        (HERE / name).write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
