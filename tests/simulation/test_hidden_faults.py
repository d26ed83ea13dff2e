"""Faults that the whole hides, in whole rollouts: one slice, one class; and what is no fault is left alone."""

from dataclasses import replace

import pytest
from scipy.stats import binom

from app.domain.rollout.rollout import Phase
from bench.hidden import PLANS, Outcome, Plan, outcomes, summary

BY_NAME = {plan.name: plan for plan in PLANS}
ALPHA = 0.01


def played(name: str, runs: int, seed: int = 3) -> list[Outcome]:
    return outcomes(BY_NAME[name], runs, seed)


def told(plan: Plan, ended: list[Outcome]) -> str:
    """What happened, for a failing test to print."""
    return f"{plan.name}: {[(each.phase.value, each.seconds, each.trigger) for each in ended]}"


@pytest.mark.parametrize("name", ["slices: same", "slices: same, labelled"])
def test_equal_versions_with_a_hundred_slices_are_hardly_ever_turned_back(name: str) -> None:
    ended = played(name, 6)
    back = sum(each.phase is Phase.ROLLED_BACK for each in ended)
    assert binom.sf(back - 1, len(ended), ALPHA) > 0.001, told(BY_NAME[name], ended)
    assert sum(each.phase is Phase.PROMOTED for each in ended) >= 5, told(BY_NAME[name], ended)


@pytest.mark.parametrize("name", ["one slice fails 20 %", "one slice is wrong 60 %"])
def test_a_fault_in_five_percent_of_the_traffic_is_found_and_the_decision_names_the_slice(name: str) -> None:
    ended = played(name, 8)
    assert {each.phase for each in ended} == {Phase.ROLLED_BACK}, told(BY_NAME[name], ended)
    assert sum(each.trigger == "slice:carrier=c000" for each in ended) >= 7, told(BY_NAME[name], ended)


@pytest.mark.parametrize("name", ["always the class of 90 %", "always the class of 50 %"])
def test_a_canary_that_says_the_same_to_everybody_is_turned_back_before_it_is_promoted(name: str) -> None:
    ended = played(name, 20)
    assert {(each.phase, each.trigger) for each in ended} == {(Phase.ROLLED_BACK, "validity")}, told(
        BY_NAME[name], ended
    )


@pytest.mark.parametrize("name", [plan.name for plan in PLANS if plan.healthy and plan.name.startswith("classes")])
def test_equal_and_reasonably_different_classifiers_are_promoted(name: str) -> None:
    ended = played(name, 20)
    assert all(each.phase is Phase.PROMOTED for each in ended), told(BY_NAME[name], ended)


def test_the_same_seed_tells_the_same_story_and_another_one_another() -> None:
    plan = replace(BY_NAME["always the class of 50 %"], runs=3)
    assert summary(plan, outcomes(plan, 3, 1)) == summary(plan, outcomes(plan, 3, 1))
    assert outcomes(plan, 3, 1) != outcomes(plan, 3, 2)
