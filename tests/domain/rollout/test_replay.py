"""Two documents are the same to the last bit, or every value that is not is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Tally
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.replay import Difference, differences, weights_after
from app.domain.rollout.rollout import MakeStable, RolloutId, ShiftWeight, begin
from bench.world import START

V1, V2 = VersionName("v1"), VersionName("v2")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(DOCUMENTS)
def test_a_document_does_not_differ_from_itself(document: object) -> None:
    assert list(differences(document, document)) == []


@given(DOCUMENTS, DOCUMENTS)
def test_two_documents_differ_unless_they_are_equal(stored: object, recomputed: object) -> None:
    found = list(differences(stored, recomputed))
    assert found or stored == recomputed


@pytest.mark.parametrize(
    ("stored", "recomputed", "names"),
    [
        ({"a": {"b": 1.0}}, {"a": {"b": 1.0000000000000002}}, ["/a/b"]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["/a/1/b"]),
        ({"a": [1]}, {"a": [1, 2]}, ["/a"]),
        ({"gone": 1}, {"new": 1}, ["/gone", "/new"]),
        ({"a/b~c": 1}, {"a/b~c": 2}, ["/a~1b~0c"]),
        ({"a": True}, {"a": 1}, ["/a"]),
        ({"a": "1"}, {"a": 1}, ["/a"]),
        ({"a": None}, {"a": 0.0}, ["/a"]),
        ({}, {"a": None}, ["/a"]),
        ({"a": 1e300}, {"a": 10**400}, ["/a"]),
        (1, 2, [""]),
    ],
)
def test_every_value_that_differs_is_named_by_its_pointer(stored: object, recomputed: object, names: list[str]) -> None:
    assert [each.name for each in differences(stored, recomputed)] == names


def test_a_whole_float_may_come_back_as_an_integer() -> None:
    assert list(differences({"log_e": 10**300}, {"log_e": 1e300})) == []
    assert list(differences([2.0, 3], [2, 3.0])) == []
    assert list(differences(2, 2.5)) == [Difference("", 2, 2.5)]


def test_the_weights_after_a_decision_are_those_its_effects_leave() -> None:
    rollout = begin(RolloutId("r1"), ModelName("fraud"), V1, V2, DEFAULT_POLICY, Tally(), START)
    before = {V1: 9_900, V2: 100}
    assert weights_after(rollout, (), before) == before
    assert weights_after(rollout, (ShiftWeight(0),), before) == {V1: 10_000}
    assert weights_after(rollout, (ShiftWeight(200),), before) == {V1: 9_800, V2: 200}
    assert weights_after(rollout, (MakeStable(V2),), before) == {V2: 10_000}
    assert weights_after(rollout, (MakeStable(V2, 100),), before) == {V2: 9_900, V1: 100}
