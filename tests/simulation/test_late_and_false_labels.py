"""Labels that come late are not mistaken for bad answers, and a source that lies decides nothing."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from app.domain.evidence.cohort import Cohort, CohortArm, CohortEpoch, LossSums
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.registry import judge
from app.domain.rollout.rollout import Phase
from bench import labels
from bench.label_world import (
    LabelSetting,
    LabelWorld,
    Source,
    Told,
    answers,
    begun,
    counted,
    ripened,
    with_cohort,
)
from bench.labels import PLANS, Outcome
from bench.world import CANARY, STABLE

BY_NAME = {plan.name: plan for plan in PLANS}
ALPHA = 0.01
# Runs of the test that nobody stops, in portions that processes share.
PORTION = 250
EVEN = {1: 5_000}


def rollouts(name: str, runs: int, seed: int = 5) -> list[Outcome]:
    return labels.rollouts(BY_NAME[name], runs, seed)


def told(ended: list[Outcome]) -> str:
    """What happened, for a failing test to print."""
    return str([(each.phase.value, each.seconds, each.trigger) for each in ended])


def test_the_mean_of_what_has_arrived_tells_a_version_apart_from_itself() -> None:
    means = labels.naive(BY_NAME["late: same"].setting, 1, 72 * labels.HOUR_S, 6 * labels.HOUR_S, 60.0)
    assert means.canary == 1.0
    assert means.stable == pytest.approx(0.14, abs=0.01)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["late: same", "events: same", "three alike: same"])
def test_equal_versions_are_not_told_apart_however_late_their_labels_are(name: str, seed: int) -> None:
    tested = labels.unstopped(BY_NAME[name], PORTION, seed)
    back = sum(np.isfinite(each.worse) for each in tested)
    held = sum(np.isfinite(each.held) for each in tested)
    assert binom.sf(max(back, held) - 1, PORTION, ALPHA) > 0.001, (back, held)


@pytest.mark.parametrize("name", ["late: same", "events: same"])
def test_rollouts_of_equal_versions_wait_for_late_labels_and_are_promoted(name: str) -> None:
    plan = BY_NAME[name]
    ended = rollouts(name, 5)
    assert {each.phase for each in ended} == {Phase.PROMOTED}, told(ended)
    assert all(each.seconds > plan.setting.metric.horizon_s for each in ended), told(ended)


@pytest.mark.parametrize("name", ["late: 20 % wrong", "events: half as many", "three alike: 30 % wrong"])
def test_a_version_that_is_wrong_more_often_is_turned_back_on_labels(name: str) -> None:
    ended = rollouts(name, 5)
    assert {(each.phase, each.trigger) for each in ended} == {(Phase.ROLLED_BACK, "labels")}, told(ended)


def test_no_more_answers_wait_for_labels_than_the_policy_allows() -> None:
    plan = BY_NAME["late: 40 % wrong"]
    strict = replace(plan.setting, policy=replace(plan.setting.policy, max_unlabelled=500))
    waiting = [
        max(each.canary_answers for each in labels.rollouts(replace(plan, setting=setting), 3, 1))
        for setting in (plan.setting, strict)
    ]
    # Between two rungs the rate scatters; the one that is taken bounds what waits.
    assert waiting[1] < 1.5 * 500 < waiting[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_source_that_calls_a_good_canary_wrong_does_not_turn_it_back(seed: int) -> None:
    tested = labels.unstopped(BY_NAME["poisoned: same, all called wrong"], PORTION, seed)
    back = sum(np.isfinite(each.worse) for each in tested)
    assert binom.sf(back - 1, PORTION, ALPHA) > 0.001, back
    assert all(np.isfinite(each.held) for each in tested)


@pytest.mark.parametrize("seed", range(4))
def test_a_source_that_calls_a_bad_canary_right_never_gets_it_promoted(seed: int) -> None:
    tested = labels.unstopped(BY_NAME["poisoned: 30 % wrong, all called right"], PORTION, seed)
    assert not any(np.isfinite(each.not_worse) for each in tested)


@pytest.mark.parametrize("seed", range(4))
def test_rollouts_under_a_source_that_calls_a_good_canary_wrong_wait_for_a_person(seed: int) -> None:
    ended = rollouts("poisoned: same, all called wrong", PORTION, seed)
    came_to = Counter((each.phase, each.trigger) for each in ended)
    back = sum(each.phase is Phase.ROLLED_BACK for each in ended)
    assert binom.sf(back - 1, PORTION, ALPHA) > 0.001, came_to
    assert not [each for each in ended if each.phase is Phase.PROMOTED], came_to
    # Time may be over before the lie weighs enough.
    assert came_to[Phase.FROZEN, "labels"] > 0.95 * PORTION, came_to


@pytest.mark.parametrize("seed", range(10))
def test_rollouts_under_a_source_that_calls_a_bad_canary_right_are_never_promoted(seed: int) -> None:
    ended = rollouts("poisoned: 30 % wrong, all called right", PORTION * 4 // 10, seed)
    assert not [each for each in ended if each.phase is Phase.PROMOTED], told(ended)


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("nobody but a liar: same, all called wrong", Phase.ROLLED_BACK),
        ("nobody but a liar: 30 % wrong, all called right", Phase.PROMOTED),
    ],
)
def test_the_same_lies_do_decide_where_nobody_contradicts_them(name: str, phase: Phase) -> None:
    ended = rollouts(name, 3)
    assert {each.phase for each in ended} == {phase}, told(ended)


def test_with_a_loud_source_that_is_honest_a_bad_canary_is_still_proven_worse() -> None:
    tested = labels.unstopped(BY_NAME["one loud, honest: 30 % wrong"], 100, 1)
    assert np.mean([np.isfinite(each.worse) for each in tested]) > 0.9


def without_loud(arm: CohortArm) -> CohortArm:
    """What the others said, as if it came from one source, which alone decides."""
    honest = [sums for source, sums in arm.by_source.items() if source != "loud"]
    return CohortArm(arm.drawn, {"honest": LossSums(*map(sum, zip(*honest, strict=True)))})


@pytest.mark.parametrize("lie", [Told.CANARY_WRONG, Told.CANARY_RIGHT])
def test_the_evidence_is_at_most_that_without_the_source_that_lies(lie: Told) -> None:
    rng = np.random.default_rng(7)
    sources = (Source("loud", 0.9, lie), Source("ops", 0.05), Source("users", 0.05))
    setting = replace(BY_NAME["three alike: 30 % wrong"].setting, sources=sources)
    ripe = [answers(setting, 1, version, 10_000, rng) for version in (CANARY, STABLE)]
    cohort = counted(setting, begun(setting), ripe, EVEN)
    honest = {
        weight_bp: CohortEpoch(without_loud(epoch.canary), without_loud(epoch.stable))
        for weight_bp, epoch in cohort.by_weight.items()
    }
    seen, without = judged(setting, cohort), judged(setting, replace(cohort, by_weight=honest))
    assert without.verdict is Verdict.REGRESSED
    assert (seen.log_e_worse or 0.0) <= (without.log_e_worse or 0.0)
    assert (seen.log_e_not_worse or 0.0) <= (without.log_e_not_worse or 0.0)


def judged(setting: LabelSetting, cohort: Cohort) -> Finding:
    evidence = LabelWorld(setting, np.random.default_rng(1)).rollout.evidence
    return judge(with_cohort(evidence, cohort), setting.policy, setting.policy.guardrails[-1])


@pytest.mark.parametrize("name", ["late: same", "events: same", "one loud, honest: 30 % wrong"])
def test_counting_comes_to_the_same_as_the_product_going_through_every_label(name: str) -> None:
    rng, setting = np.random.default_rng(3), BY_NAME[name].setting
    cohort = by_product = begun(setting)
    for second in range(5):
        ripe = [answers(setting, 1, version, 200, rng) for version in (CANARY, STABLE)]
        cohort = counted(setting, cohort, ripe, EVEN)
        by_product = ripened(setting, by_product, second, ripe, EVEN)
    assert cohort.by_weight == by_product.by_weight
    assert by_product.by_weight[5_000].canary.drawn == 1_000


def test_another_seed_tells_another_story_and_the_same_one_the_same() -> None:
    plan = BY_NAME["three alike: 30 % wrong"]
    assert labels.rollouts(plan, 3, 1) == labels.rollouts(plan, 3, 1)
    assert labels.rollouts(plan, 3, 1) != labels.rollouts(plan, 3, 2)


@pytest.mark.bench
def test_the_document_and_its_page_tell_every_plan(tmp_path: Path) -> None:
    said: list[str] = []
    labels.main(["--most", "1", "--report", str(tmp_path)], said.append)
    document = json.loads((tmp_path / "labels.json").read_text())
    assert list(document["plans"]) == [plan.name for plan in PLANS]
    page = (tmp_path / "labels.md").read_text()
    assert all(f"| {plan.name} |" in page for plan in PLANS)
