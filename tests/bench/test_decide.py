"""The engine's benchmark: one document that its seed repeats, goals that can be missed, a page that shows them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from app.domain.rollout.rollout import Phase
from bench import decide, goals
from bench.decide import PARTS, Part, Size, measure
from bench.judging import crew, intervals, page
from bench.judging.coin import turnback
from bench.judging.delays import Delay, judge, limit, summary
from bench.judging.goals import GOALS
from bench.judging.rollouts import PLANS, Outcome
from bench.judging.rollouts import summary as rollouts_summary
from bench.judging.situations import MISUSED, RIVALS, SITUATIONS, TURNBACK, figures, verdicts
from bench.judging.situations import judge as judge_situation
from bench.judging.traffic import Ends, Traffic


@pytest.fixture(scope="module")
def smallest() -> dict[str, Any]:
    return measure(Size(quick=True, workers=1, most=1), 9, lambda _: None)


@pytest.mark.bench
def test_the_smallest_run_is_one_json_document_that_its_seed_repeats(smallest: dict[str, Any]) -> None:
    said: list[str] = []
    again = measure(Size(quick=True, workers=1, most=1), 9, said.append)
    assert json.loads(json.dumps(smallest, allow_nan=False)) == smallest
    by_chance = {"seconds", "measured_at"}
    assert {key: value for key, value in again.items() if key not in by_chance} == {
        key: value for key, value in smallest.items() if key not in by_chance
    }
    assert len(said) == sum(len(again[part.key]) for part in PARTS)
    assert all(line.endswith(" 1 runs.") for line in said)


@pytest.mark.bench
def test_another_seed_gives_other_figures(smallest: dict[str, Any]) -> None:
    other = measure(Size(quick=True, workers=1, most=1), 10, lambda _: None)
    assert other["situations"] != smallest["situations"]


def test_processes_share_the_work_without_changing_it() -> None:
    tasks = [crew.Task(judge, Delay("50%", 0.5, 1, 100, 1, 1), 4, seed) for seed in range(3)]
    alone, shared = (list(crew.done(tasks, workers)) for workers in (1, 2))
    np.testing.assert_array_equal(alone, shared)


def test_a_row_is_drawn_in_portions_with_seeds_of_their_own() -> None:
    part = Part("delays", "", (), judge, summary, portion=4)
    tasks = decide._portions(part, Delay("50%", 0.5, 1, 100, 1, 1), 10, decide._seeds(3))
    assert [task.runs for task in tasks] == [4, 4, 2]
    assert len({task.seed for task in tasks}) == 3


def test_every_judge_is_shown_the_same_stream_and_the_misuse_only_where_it_differs() -> None:
    for situation in SITUATIONS:
        found = judge_situation(situation, 2, 1)
        late_or_sticky = "late" in situation.name or "sticky" in situation.name
        assert found.keys() == {TURNBACK, *RIVALS} | ({MISUSED} if late_or_sticky else set())
        assert all(each.exchanges.shape == (2,) for each in found.values())


def test_a_verdict_counts_what_had_happened_until_the_look_that_ended_the_run() -> None:
    ten = np.full((3, 4), 10)
    traffic = Traffic(np.array([[5_000]]), ten, ten * 2, ten * 0, ten * 0, 1)
    never = np.inf
    found = verdicts(traffic, Ends(np.array([1.0, never, never]), np.array([never, 0.0, never])))
    assert found.exchanges.tolist() == [60.0, never, never]
    assert found.promoted.tolist() == [False, True, False]
    assert found.canary_answers.tolist() == [20.0, 10.0, 40.0]
    shown = figures([found], 0.1)
    assert (shown["rolled_back"]["count"], shown["promoted"]["count"]) == (1, 1)
    assert shown["mean_extra_bad"]["value"] == pytest.approx(7.0 / 3, abs=1e-4)
    assert shown["median_exchanges"]["value"] is None


def test_the_limit_is_the_one_of_the_literature_and_the_rule_stays_above_it() -> None:
    assert [round(limit(rate)) for rate in (0.015, 0.02, 0.05, 0.5)] == [18_070, 5_341, 615, 24]
    delay = Delay("50%", 0.5, 1, 300, 1, 1)
    row = summary(delay, [judge(delay, 300, 5)])
    assert row["undecided"] == 0
    assert 1.0 < row["mean_over_limit"]["value"] < 2.0
    assert row["mean_exchanges"]["value"] == pytest.approx(row["mean_over_limit"]["value"] * limit(0.5), rel=1e-3)


def test_an_undecided_run_counts_with_the_horizon_and_is_told() -> None:
    row = summary(Delay("50%", 0.5, 1, 100, 1, 1), [np.array([50.0, np.inf])])
    assert row["mean_exchanges"]["value"] == 75.0
    assert (row["undecided"], row["median_exchanges"]["value"]) == (1, None)


def test_a_healthy_version_s_false_alarms_would_show_in_the_goals() -> None:
    document: dict[str, Any] = {"situations": {"same": {"judges": {TURNBACK: {"rolled_back": {"share": 0.011}}}}}}
    judged = goals.judged(document, GOALS)
    assert judged["situation_same"]["met"] is False
    document["situations"]["same"]["judges"][TURNBACK]["rolled_back"]["share"] = 0.01
    assert goals.judged(document, GOALS)["situation_same"]["met"] is True
    assert judged["delay_50%"]["met"] is None


@pytest.mark.bench
def test_every_goal_names_a_figure_that_a_run_in_full_has(smallest: dict[str, Any]) -> None:
    judged = goals.judged(smallest, GOALS)
    only_in_full = {f"policy_{plan.name}" for plan in PLANS if not plan.quick_runs}
    unmeasured = {name for name, goal in judged.items() if goal["measured"] is None}
    # One run may be undecided, and then has no median.
    assert unmeasured - only_in_full <= {name for name in judged if name.startswith("latency_")}


def test_rollouts_are_summed_up_by_how_they_ended() -> None:
    outcomes = [
        Outcome(Phase.ROLLED_BACK, 10, 100, 4.0),
        Outcome(Phase.PROMOTED, 20, 200, 8.0),
        Outcome(Phase.RAMPING, 30, 300, 12.0),
    ]
    row = rollouts_summary(PLANS[0], [outcomes[:1], outcomes[1:]])
    assert (row["rolled_back"]["count"], row["promoted"]["count"], row["runs"]) == (1, 1, 3)
    assert (row["median_seconds"]["value"], row["median_extra_bad"]["value"]) == (20.0, 8.0)


@pytest.mark.bench
def test_the_page_the_picture_and_the_document_say_the_same_whenever_they_are_written(
    smallest: dict[str, Any], tmp_path: Path
) -> None:
    written = page.write(smallest, tmp_path)
    first = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    page.write(smallest, tmp_path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == first
    assert first.keys() == {"decide.md", "decide.svg", "decide.json"}
    assert json.loads(first["decide.json"]) == smallest
    text = written.read_text()
    for situation in SITUATIONS:
        assert situation.name in text
    for goal in smallest["goals"].values():
        assert goal["reach"] in text
    assert "(decide.svg)" in text
    assert "(decide.svg)" not in page.tables(smallest)


def test_figures_are_written_so_that_they_can_be_read() -> None:
    assert page._number(18_069.5) == "18,070"
    assert page._number(1.3495) == "1.35"
    assert page._number(None) == ""
    assert page._between({"value": 5.0, "ci95": [4.0, None]}) == "5 (4–never)"
    assert page._between({"value": 5.0, "ci95": [5.0, 5.0]}) == "5"
    assert page._between({"value": None, "ci95": [4.0, None]}) == "never"
    assert page._share({"share": 0.0055, "ci95": [0.0036, 0.0083]}) == "0.55 % (0.36 %–0.83 %)"


def test_a_share_has_its_exact_interval() -> None:
    assert intervals.clopper_pearson(0, 100, 0.025) == pytest.approx((0.0, 0.0362), abs=1e-4)
    assert intervals.clopper_pearson(100, 100, 0.025)[1] == 1.0
    found = intervals.share(np.arange(4_000) < 22)
    assert (found["share"], found["count"], found["runs"]) == (0.0055, 22, 4_000)
    low, high = found["ci95"]
    # The ends are the shares at which the count is just as far out as the interval allows.
    assert binom.sf(21, 4_000, low) == pytest.approx(0.025, abs=5e-4)
    assert binom.cdf(22, 4_000, high) == pytest.approx(0.025, abs=5e-4)
    assert binom.cdf(22, 4_000, found["at_most"]) == pytest.approx(0.05, abs=5e-4)


def test_the_intervals_of_median_and_mean_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(12)
    held = {"median": 0, "mean": 0, "p95": 0}
    for _ in range(400):
        values = rng.exponential(1.0, 120)
        for name, found, truth in (
            ("median", intervals.median(values), np.log(2.0)),
            ("mean", intervals.mean(values), 1.0),
            ("p95", intervals.quantile(values, 0.95), np.log(20.0)),
        ):
            held[name] += found["ci95"][0] <= truth <= found["ci95"][1]
    assert all(0.91 * 400 <= count <= 0.99 * 400 for count in held.values()), held


def test_a_median_of_runs_that_never_end_is_not_a_number() -> None:
    found = intervals.median(np.array([1.0, 2.0, np.inf, np.inf, np.inf]))
    assert found == {"value": None, "ci95": [1.0, None]}
    assert intervals.median(np.array([3.0, 1.0, 2.0]))["value"] == 2.0
    assert intervals.quantile(np.array([0.0, 10.0]), 0.95)["value"] == pytest.approx(9.5)
    assert intervals.mean(np.array([4.0])) == {"value": 4.0, "ci95": [None, None]}


def test_a_lower_alpha_turns_back_later() -> None:
    traffic = next(each for each in SITUATIONS if each.name == "2%").stream.draw(20, np.random.default_rng(2)).seen
    assert (turnback(traffic, 0.001).rolled_back > turnback(traffic, 0.05).rolled_back).mean() > 0.9
