"""Every fixed question is answered as it was answered before, word for word and figure by figure."""

import json
from math import inf, isclose, isnan

import pytest
from domain.pinned import HERE, PINNED, rounded

KEPT = {name: json.loads((HERE / name).read_text()) for name in PINNED}


def differing(kept: object, given: object, place: str = "") -> list[str]:
    """Where two answers differ; figures may from the tenth digit on."""
    if isinstance(kept, dict) and isinstance(given, dict):
        names = dict.fromkeys([*kept, *given])
        both = [(name, kept.get(name, ...), given.get(name, ...)) for name in names]
        return [each for name, one, two in both for each in differing(one, two, f"{place}/{name}")]
    if isinstance(kept, list) and isinstance(given, list) and len(kept) == len(given):
        pairs = zip(kept, given, strict=True)
        return [each for i, (one, two) in enumerate(pairs) for each in differing(one, two, f"{place}/{i}")]
    if isinstance(kept, float) and isinstance(given, float):
        same = isclose(kept, given, rel_tol=1e-9, abs_tol=1e-12) or (isnan(kept) and isnan(given))
    else:
        same = type(kept) is type(given) and kept == given
    return [] if same else [f"{place}: was {kept!r}, is {given!r}"]


@pytest.mark.parametrize(
    ("name", "question"), [(name, question) for name, (questions, _) in PINNED.items() for question in questions]
)
def test_a_question_is_answered_as_before(name: str, question: str) -> None:
    _, answer = PINNED[name]
    assert differing(KEPT[name][question], rounded(answer(question))) == []


@pytest.mark.parametrize("name", PINNED)
def test_no_answer_is_kept_to_a_question_that_nobody_asks(name: str) -> None:
    questions, _ = PINNED[name]
    assert list(KEPT[name]) == list(questions)


def test_a_figure_that_is_another_is_a_difference() -> None:
    assert differing({"a": [1.0, inf]}, {"a": [1.0 + 1e-12, inf]}) == []
    assert differing({"a": [1.0, 2]}, {"a": [1.0 + 1e-7, 2.0]}) == [
        "/a/0: was 1.0, is 1.0000001",
        "/a/1: was 2, is 2.0",
    ]
    assert differing({"a": 1}, {"b": 1}) == ["/a: was 1, is Ellipsis", "/b: was Ellipsis, is 1"]
