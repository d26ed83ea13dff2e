"""Silent decay by labels: found though every answer is 200, and by no single source's word."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from domain.standby.test_monitor import PROMOTED, STANDBY, START, START_S, watch
from domain.walking import POLICY, Walk
from scipy.stats import binom

from app.domain.catalog.declarations import Missing, QualityKind, QualityMetric
from app.domain.catalog.policy import OnRegression
from app.domain.evidence.absorb_cohort import Matured
from app.domain.evidence.cohort import Cohort
from app.domain.evidence.loss import Labelled
from app.domain.guardrails.policy import guardrail
from app.domain.rollout.rollout import PromotionOrdered
from app.domain.standby.label_monitor import read_labels
from app.domain.standby.monitor import ANSWERS, EndedBy, Suspicion, Watch, WatchedMetric, absorbed, begun, judged

RIGHT = QualityMetric("right", QualityKind.ACCURACY, horizon_s=60.0)
BOUGHT = QualityMetric("bought", QualityKind.EVENT, horizon_s=60.0, missing=Missing.BAD)
OWN = frozenset({5})


def watched(metric: QualityMetric = RIGHT, *, acts: bool = True, errors_act: bool = True) -> Watch:
    of = watch(standby_bp=500, acts=errors_act)
    suspicions = {**of.suspicions, metric.name: Suspicion(START_S - 1)}
    return replace(
        of, suspicions=suspicions, metrics={metric.name: WatchedMetric(Cohort(metric, START_S - 1, 0.1), acts)}
    )


def labelled(second: int, name: str, wrong: dict[str, list[bool]], generation: int = 5) -> Iterator[Labelled]:
    """Labels of one second: each source's, wrong or not."""
    version = PROMOTED if name == "stable" else STANDBY
    for source, each_wrong in wrong.items():
        for number, is_wrong in enumerate(each_wrong):
            exchange = f"{second}-{name}-{source}-{number}"
            yield Labelled(exchange, version, generation, second, source, "1", ("0" if is_wrong else "1",))


def minute(
    rng: np.random.Generator, of: Watch, number: int, rates: dict[str, tuple[float, float]], n: int = 600
) -> Watch:
    """One minute's labels, matured: by source, the shares that are wrong of stable and standby."""
    second = START_S + number * 60
    stable = int(rng.binomial(n, of.weight))
    rows: list[Labelled] = []
    for name, count, place in (("stable", stable, 0), ("standby", n - stable, 1)):
        shares = rng.multinomial(count, [1 / len(rates)] * len(rates))
        wrong = {
            source: (rng.random(share) < both[place]).tolist()
            for (source, both), share in zip(rates.items(), shares, strict=True)
        }
        rows += labelled(second, name, wrong)
    return read_labels(of, RIGHT.name, Matured(tuple(rows), {}, second + 59), OWN)


def minutes_to_alarm(of: Watch, rates: dict[str, tuple[float, float]], most: int, seed: int = 1) -> int | None:
    rng = np.random.default_rng(seed)
    for number in range(most):
        of = minute(rng, of, number, rates)
        if judged(of, START).ended_by is EndedBy.DECAY:
            return number
    return None


def test_a_version_whose_labels_say_that_it_is_worse_is_turned_back() -> None:
    took = minutes_to_alarm(watched(), {"ops": (0.3, 0.1)}, 120)
    assert took is not None


def test_a_day_that_is_worse_for_both_is_no_decay() -> None:
    assert minutes_to_alarm(watched(), {"ops": (0.4, 0.4)}, 300) is None


def test_equal_versions_are_told_apart_no_more_often_than_promised() -> None:
    rng, runs, minutes = np.random.default_rng(3), 100, 60
    called = 0
    for _ in range(runs):
        of, most = watched(errors_act=False), -np.inf
        for number in range(minutes):
            of = minute(rng, of, number, {"ops": (0.1, 0.1)}, n=100)
            most = max(most, of.log_m)
        # An alarm at A is false with a chance of at most T / A within T buckets.
        called += most >= np.log(20.0 * minutes)
    assert binom.sf(called - 1, runs, 1 / 20) > 0.001


def test_no_single_source_turns_a_version_back() -> None:
    of, rates = watched(), {"liar": (1.0, 0.1), "ops": (0.1, 0.1), "users": (0.1, 0.1)}
    assert minutes_to_alarm(of, rates, 120) is None
    assert minutes_to_alarm(of, {"liar": (1.0, 0.1)}, 120) is not None
    assert minutes_to_alarm(of, {"ops": (0.4, 0.1), "users": (0.4, 0.1), "more": (0.4, 0.1)}, 120) is not None


def test_labels_that_come_for_one_version_only_prove_nothing() -> None:
    of = watched()
    for number in range(200):
        second = START_S + number * 60
        rows = tuple(labelled(second, "stable", {"ops": [True] * 100}))
        of = read_labels(of, RIGHT.name, Matured(rows, {}, second + 59), OWN)
    assert of.log_m <= 0.0
    assert judged(of, START).ended_by is None


def test_what_nobody_labels_is_bad_where_that_was_declared() -> None:
    of = watched(BOUGHT)
    for number in range(40):
        second = START_S + number * 60
        bought = tuple(each._replace(predictions=()) for each in labelled(second, "standby", {"shop": [False] * 25}))
        drawn = {(5, PROMOTED): 950, (5, STANDBY): 50, (4, STANDBY): 9}
        of = read_labels(of, BOUGHT.name, Matured(bought, drawn, second + 59), OWN)
    seen = of.suspicions[BOUGHT.name]
    assert (tuple(seen.stable_total), tuple(seen.standby_total)) == ((38_000, 38_000.0), (2_000, 1_000.0))
    step = judged(of, START)
    assert step.ended_by is EndedBy.DECAY
    assert "100.0 % of v2's 38,000 labelled answers were bad by bought, 50.0 % of v1's 2,000" in step.sentence


def test_a_batch_is_read_once_and_labels_of_other_weights_not_at_all() -> None:
    of = watched()
    batch = Matured(
        (*labelled(START_S, "stable", {"ops": [True]}), *labelled(START_S, "standby", {"ops": [True]}, generation=4)),
        {},
        START_S,
    )
    once = read_labels(of, RIGHT.name, batch, OWN)
    assert read_labels(once, RIGHT.name, batch, OWN) == once
    seen = once.suspicions[RIGHT.name]
    assert (seen.stable_total.judged, seen.standby_total.judged) == (1, 0)


def test_labels_that_do_not_turn_back_are_told() -> None:
    rng, of = np.random.default_rng(1), watched(acts=False)
    for number in range(120):
        of = minute(rng, of, number, {"ops": (0.3, 0.1)})
    step = judged(of, START)
    assert (step.ended_by, step.found) == (None, "decay")
    assert step.sentence.startswith("v2 has decayed and stays, as its labels of right do not turn back: v1 would be")


def test_the_end_says_which_labels_came_too_late() -> None:
    of = watched()
    assert judged(of, of.until).sentence.endswith("No label of right was old enough by then.")
    labelled_once = minute(np.random.default_rng(1), of, 0, {"ops": (0.1, 0.1)})
    assert judged(labelled_once, of.until).sentence.endswith("was not proven better.")


@pytest.mark.parametrize("on_regression", [OnRegression.ROLLBACK, OnRegression.HOLD])
def test_a_watch_begins_with_the_metrics_that_judged_the_rollout(on_regression: OnRegression) -> None:
    guardrails = (guardrail("errors"), guardrail("labels", of="right", on_regression=on_regression))
    promoted = Walk(replace(POLICY, guardrails=guardrails)).to_ramp().take(PromotionOrdered())
    rollout = promoted.rollout
    evidence = rollout.evidence
    cohorts = {"right": Cohort(RIGHT, START_S - 1, 0.1), "f1": Cohort(RIGHT, START_S - 1, 0.1)}
    rollout = replace(rollout, evidence=replace(evidence, of_model=replace(evidence.of_model, cohorts=cohorts)))
    of = begun(rollout, 100, promoted.now)
    assert set(of.suspicions) == {ANSWERS, "right"}
    assert of.acting == ((ANSWERS, "right") if on_regression is OnRegression.ROLLBACK else (ANSWERS,))
    assert absorbed(of, (), START_S).log_m == -np.inf
