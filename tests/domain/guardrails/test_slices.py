"""Slices: a fault in one is found and named, every slice counts the same, and doubtful labels decide nothing."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import exp, log

import numpy as np
import pytest
from domain.counts import HISTORY, START, arm
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.declarations import QualityKind, QualityMetric, SliceKey
from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import Guardrail, OnRegression
from app.domain.evidence.cohort import Cohort, CohortArm, CohortEpoch, LossSums, SliceEpoch
from app.domain.evidence.evidence import EpochCounts, Evidence
from app.domain.evidence.model_evidence import ModelEvidence, ObservedEpoch
from app.domain.evidence.observed import Observed, SliceCounts
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import judge
from app.domain.guardrails.slices.evidence import compared_slices, hypotheses
from app.domain.guardrails.slices.worst import standing_out
from app.domain.stats.eprocess import WORSE, Outcomes, log_e_tilt
from app.domain.stats.harm import of_halves
from app.domain.stats.score import ScoreEpoch, Sums, best_rho, log_e_worse, scale_worse, score

CARRIER = SliceKey("carrier", header="x-carrier", values_max=20)
SLICING = guardrail("slices")
POLICY = replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, SLICING))
ON_TIME = QualityMetric("on_time", QualityKind.ACCURACY)
MINUTES = QualityMetric("minutes", QualityKind.ABSOLUTE_ERROR, high=60.0)
HITS = QualityMetric("hits", QualityKind.PRECISION)
NAMES = tuple(f"c{number:02}" for number in range(20))

Slices = Mapping[str, SliceCounts]
Both = tuple[Slices, Slices]


def observed(slices: Slices) -> Observed:
    judged, bad, read, flawed = (sum(each) for each in zip(*slices.values(), strict=True))
    return Observed(judged, bad, read, flawed, slices={"carrier": slices})


def evidence(
    epochs: Mapping[int, Both], cohorts: Mapping[str, Cohort] | None = None, key: SliceKey = CARRIER
) -> Evidence:
    begun = Evidence.begin(VersionName("v7"), VersionName("v8"), slow_limits(POLICY), HISTORY, START)
    seen = {bp: ObservedEpoch(*map(observed, arms)) for bp, arms in epochs.items()}
    whole = {bp: EpochCounts(*(arm(each.judged, each.bad) for each in (e.canary, e.stable))) for bp, e in seen.items()}
    return replace(begun, by_weight=whole, of_model=ModelEvidence(cohorts or {}, seen, slice_keys=(key,)))


def alike(n: int = 500, bad: int = 5, flawed: int = 2) -> dict[str, SliceCounts]:
    return {name: SliceCounts(n, bad, n, flawed) for name in NAMES}


def judged(found: Evidence, guardrail: Guardrail = SLICING) -> Finding:
    return judge(found, POLICY, guardrail)


def sums(a: list[float], b: list[float] | None = None) -> LossSums:
    x, y = np.array(a), np.ones(len(a)) if b is None else np.array(b)
    return LossSums(len(a), *(float(each.sum()) for each in (x, y, x * x, x * y, y * y)))


def cohort(
    metric: QualityMetric, slices: Mapping[str, tuple[LossSums, LossSums]], sources: tuple[str, ...] = ("ops",)
) -> Cohort:
    total = [LossSums(), LossSums()]
    for both in slices.values():
        total = [whole.plus(part) for whole, part in zip(total, both, strict=True)]
    arms = (CohortArm(int(whole.n), dict.fromkeys(sources, whole)) for whole in total)
    epochs = {f"carrier={name}": {5_000: SliceEpoch(*both)} for name, both in slices.items()}
    return Cohort(metric, START, 0.1, {5_000: CohortEpoch(*arms)}, epochs)


def test_a_fault_in_one_slice_is_named_with_its_rates_while_the_whole_looks_clean() -> None:
    faulty = {**alike(), "c07": SliceCounts(500, 75, 425, 2)}
    finding = judged(evidence({5_000: (faulty, alike())}))
    assert (finding.verdict, str(finding.trigger)) == (Verdict.REGRESSED, "slice:carrier=c07")
    assert finding.sentence == (
        "v8 is worse where carrier=c07: errors 15.0 % of 500, 1.00 % of 500 for v7 at the same weights; "
        "of all answers 1.70 % and 1.00 % are bad."
    )
    assert finding.numbers["extra"] == pytest.approx(70.0)
    assert [(each.slice.value, each.metric) for each in standing_out(evidence({5_000: (faulty, alike())}))] == [
        ("c07", "errors")
    ]


def test_flawed_answers_of_one_slice_are_named_too() -> None:
    finding = judged(evidence({5_000: ({**alike(), "c03": SliceCounts(500, 5, 495, 99)}, alike())}))
    assert (finding.verdict, str(finding.trigger)) == (Verdict.REGRESSED, "slice:carrier=c03")
    assert "flawed answers 20.0 % of 495, 0.40 % of 500 for v7" in finding.sentence


def test_equal_versions_are_nothing_suspicious_and_the_trigger_names_no_slice() -> None:
    finding = judged(evidence({100: (alike(10, 0, 0), alike()), 5_000: (alike(), alike())}))
    assert (finding.verdict, finding.metric) == (Verdict.INCONCLUSIVE_HEALTHY, "slices")
    assert finding.sentence == "v8 in 20 slices: nothing suspicious."
    assert finding.log_e_not_worse is None
    assert (finding.numbers["hypotheses"], finding.numbers["standing_out"]) == (42, 0)


def test_without_slice_keys_and_before_anything_was_read_the_sentence_says_so() -> None:
    undeclared = Evidence.begin(VersionName("v7"), VersionName("v8"), slow_limits(POLICY), HISTORY, START)
    assert judged(undeclared).sentence == "Slices are not judged: the model declares no slice keys."
    assert judged(evidence({})).sentence == "Slices are not judged: nothing of v8's answers has been read yet."
    sticky = replace(evidence({}), per_caller=True)
    assert "callers keep their arm" in judged(sticky).sentence
    assert judged(sticky).verdict is Verdict.NO_EVENTS


counts = st.builds(
    lambda n, bad, flawed: SliceCounts(n, min(n, bad), n, min(n, flawed)),
    st.integers(0, 400),
    st.integers(0, 40),
    st.integers(0, 40),
)
arms = st.dictionaries(st.sampled_from(NAMES), counts, min_size=1)


@given(st.dictionaries(st.sampled_from([5, 100, 2_500, 5_000]), st.tuples(arms, arms), min_size=1))
def test_each_slice_is_judged_to_the_bit_as_if_it_were_the_only_one(epochs: Mapping[int, Both]) -> None:
    none = SliceCounts()
    for each in compared_slices(evidence(epochs)):
        name, place = each.slice.value, {"errors": 1, "validity": 3}[each.metric]
        alone = [
            Outcomes(bp / 10_000, canary.get(name, none)[place], stable.get(name, none)[place])
            for bp, (canary, stable) in sorted(epochs.items())
        ]
        assert each.log_e == log_e_tilt(alone)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=40))
def test_a_graded_loss_is_judged_half_by_each_of_the_two_processes(pairs: list[tuple[float, float]]) -> None:
    canary, stable = ([pair[place] for pair in pairs] for place in (0, 1))
    found = evidence({}, {"minutes": cohort(MINUTES, {"c01": (sums(canary), sums(stable))})})
    (compared,) = compared_slices(found)
    of_canary, of_stable = (Sums(len(y), float(np.sum(y)), float(np.sum(np.square(y)))) for y in (canary, stable))
    totals = score([ScoreEpoch(0.5, of_canary, of_stable, 2 * len(pairs))], 0.1)
    graded = log_e_worse(totals, 0.0, best_rho(3.0, 2e-5), scale_worse(0.1, 1e-4, 0.5))
    bad = log_e_tilt([Outcomes(0.5, sum(canary), sum(stable))])
    expected = of_halves(bad, graded) if totals.score > 0.0 else bad - log(2.0)
    assert compared.log_e == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("weight", [0.01, 0.3, 0.5])
def test_losses_in_place_of_bad_answers_keep_the_process_fair_on_average(weight: float) -> None:
    # Every pair of losses the two versions could have, whose means are equal: exactly what the docstring claims.
    for tilt, spread in product(WORSE, [0.0, 0.1, 0.5, 1.0]):
        canary, stable = (0.5 - spread / 2, 0.5 + spread / 2), (0.5, 0.5)
        g = 1.0 + weight * (tilt - 1.0)
        mean = sum(weight * (tilt**a) / g**a + (1.0 - weight) / g**b for a, b in zip(canary, stable, strict=True)) / 2
        assert mean <= 1.0 + 1e-12


def test_a_slice_that_is_mislabelled_is_found_by_its_labels() -> None:
    wrong, right = sums([1.0] * 90 + [0.0] * 210), sums([1.0] * 30 + [0.0] * 270)
    slices = {name: (wrong if name == "c05" else right, right) for name in NAMES}
    finding = judged(evidence({5_000: (alike(), alike())}, {"on_time": cohort(ON_TIME, slices)}))
    assert (finding.verdict, str(finding.trigger)) == (Verdict.REGRESSED, "slice:carrier=c05")
    assert "wrong answers by on_time 30.0 % of 300, 10.0 % of 300 for v7" in finding.sentence


def test_a_graded_fault_is_told_by_its_mean_loss() -> None:
    far, near = sums([0.5] * 150), sums([0.1] * 150)
    slices = {name: (far if name == "c05" else near, near) for name in NAMES}
    finding = judged(evidence({}, {"minutes": cohort(MINUTES, slices)}))
    assert (finding.verdict, str(finding.trigger)) == (Verdict.REGRESSED, "slice:carrier=c05")
    assert "a mean loss by minutes 0.5 of 150, 0.1 of 150 for v7" in finding.sentence


def precision(found: float, alarms: int) -> LossSums:
    """So many alarms, a share of them right, among 2,000 labelled answers."""
    wrong = round(alarms * (1.0 - found))
    a = [1.0] * wrong + [0.0] * (2_000 - wrong)
    return sums(a, [1.0] * alarms + [0.0] * (2_000 - alarms))


def test_a_canary_that_raises_twice_the_alarms_of_equal_precision_is_not_worse() -> None:
    both = (precision(0.8, 800), precision(0.8, 400))
    finding = judged(evidence({}, {"hits": cohort(HITS, dict.fromkeys(NAMES, both))}))
    assert finding.verdict is Verdict.INCONCLUSIVE_HEALTHY


def test_a_canary_whose_alarms_are_more_often_false_is_worse() -> None:
    both = (precision(0.4, 400), precision(0.8, 400))
    slices = {name: both if name == "c11" else (both[1], both[1]) for name in NAMES}
    finding = judged(evidence({}, {"hits": cohort(HITS, slices)}))
    assert (finding.verdict, str(finding.trigger)) == (Verdict.REGRESSED, "slice:carrier=c11")
    assert "false alarms by hits" in finding.sentence


@pytest.mark.parametrize("sources", [("ops", "airline"), ("ops", "airline", "missing")])
def test_labels_of_several_sources_that_a_slice_cannot_tell_apart_turn_nothing_back(sources: tuple[str, ...]) -> None:
    wrong, right = sums([1.0] * 200), sums([0.0] * 200)
    poisoned = cohort(ON_TIME, {"c05": (wrong, right)}, sources)
    assert judged(evidence({}, {"on_time": poisoned})).verdict is Verdict.INCONCLUSIVE_HEALTHY
    alone = replace(poisoned, by_weight=cohort(ON_TIME, {"c05": (wrong, right)}, ("ops", "missing")).by_weight)
    assert judged(evidence({}, {"on_time": alone})).verdict is Verdict.REGRESSED


def test_labels_that_come_more_often_for_one_version_turn_nothing_back() -> None:
    wrong, right = sums([1.0] * 100 + [0.0] * 100), sums([0.0] * 40)
    assert judged(evidence({}, {"on_time": cohort(ON_TIME, {"c05": (wrong, right)})})).log_e_worse == pytest.approx(
        0.0, abs=0.1
    )


def test_labels_that_are_uneven_in_one_slice_only_are_not_evidence_there() -> None:
    slices = {"c05": (sums([1.0] * 90), sums([0.0] * 10)), "c06": (sums([0.0] * 3_000), sums([0.0] * 3_000))}
    (uneven, _) = compared_slices(evidence({}, {"on_time": cohort(ON_TIME, slices)}))
    assert uneven.log_e == 0.0


def test_what_a_slice_weighs_depends_on_what_was_declared_and_never_on_what_was_seen() -> None:
    faulty = SliceCounts(500, 75, 425, 2)
    few = judged(evidence({5_000: ({"c07": faulty}, {"c07": alike()["c07"]})}))
    many = judged(evidence({5_000: ({**alike(), "c07": faulty}, alike())}))
    assert few.log_e_worse == pytest.approx(many.log_e_worse, abs=1e-6)
    wider = replace(CARRIER, values_max=41)
    found = evidence({5_000: ({**alike(), "c07": faulty}, alike())}, key=wider)
    assert hypotheses(found) == 84
    assert many.log_e_worse is not None
    assert judged(found).log_e_worse == pytest.approx(many.log_e_worse - log(2.0), abs=1e-3)


def test_nothing_seen_is_evidence_of_exactly_one() -> None:
    clean = {name: SliceCounts(500, 0, 500, 0) for name in NAMES[:3]}
    finding = judged(evidence({5_000: (clean, clean)}))
    assert finding.log_e_worse is not None
    assert exp(finding.log_e_worse) == pytest.approx(1.0)


def test_a_guardrail_that_only_warns_says_so() -> None:
    found = evidence({5_000: ({**alike(), "c07": SliceCounts(500, 75, 425, 2)}, alike())})
    finding = judged(found, replace(SLICING, on_regression=OnRegression.WARN))
    assert finding.sentence.endswith("are bad; a warning, nothing follows.")


def test_a_suspicion_is_told_as_one_and_without_rates_where_stable_has_not_answered() -> None:
    found = evidence({100: ({"c07": SliceCounts(4, 3, 1, 0)}, {"c08": SliceCounts(900, 9, 891, 0)})})
    finding = judged(found)
    assert (finding.verdict, str(finding.trigger)) == (Verdict.INCONCLUSIVE_WORSE, "slice:carrier=c07")
    assert finding.sentence.startswith(
        "v8 looks worse, which is not proven, where carrier=c07: errors in 4 answers; v7 has given 0"
    )
    assert "canary_rate" not in finding.numbers
    assert finding.metric == "slices"
    uncounted = replace(found, by_weight={})
    assert judged(uncounted).sentence.endswith("v7 has given 0.")
