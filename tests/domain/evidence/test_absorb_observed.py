"""Answers that were read are added once, whatever the order of the rows and however the reading is cut."""

from dataclasses import replace
from math import inf, nan

import pytest
from domain.counts import HISTORY, START
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.declarations import SliceKey
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.absorb_observed import absorb_observed, flaw_of, observed_after
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import ModelEvidence
from app.domain.evidence.observed import COST, Flaw, Measure, Observed, ObservedRow, SliceCounts
from app.domain.evidence.tally import MOST_COUNTED, TallyKey
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.stats.histogram import OTHER

FRAUD, V1, V2, V3 = ModelName("fraud"), VersionName("v1"), VersionName("v2"), VersionName("v3")
WEIGHTS = {1: 100, 2: 500, 3: 100}
CARRIER = SliceKey("carrier", header="x-carrier", values_max=3)


def begun(*keys: SliceKey, cost_cap: float | None = None, per_caller: bool = False) -> Evidence:
    evidence = Evidence.begin(V1, V2, slow_limits(DEFAULT_POLICY), HISTORY, START, per_caller=per_caller)
    return replace(evidence, of_model=ModelEvidence(slice_keys=keys, cost_cap=cost_cap))


def row(second: int, version: VersionName = V2, generation: int = 1, **observed: object) -> ObservedRow:
    return ObservedRow(TallyKey(START + second, FRAUD, generation, version), Observed(**observed), 1)  # type: ignore[arg-type]


@st.composite
def rows(draw: st.DrawFn) -> ObservedRow:
    slices = draw(st.dictionaries(st.sampled_from("abcdef"), st.just(SliceCounts(3, 1, 2, 1)), max_size=4))
    return row(
        draw(st.integers(0, 9)),
        draw(st.sampled_from([V1, V2, V3])),
        draw(st.sampled_from(sorted(WEIGHTS))),
        judged=3,
        bad=1,
        read=2,
        flawed=1,
        flaws={draw(st.sampled_from(list(Flaw))): 1},
        measures={COST: Measure(2, 3.0, 5.0)},
        slices={"carrier": slices},
    )


@given(st.lists(rows(), max_size=30), st.sets(st.integers(0, 9)), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_cuts_of_the_reading_change_anything(
    seen: list[ObservedRow], cuts: set[int], chance: object
) -> None:
    whole = absorb_observed(begun(CARRIER), seen, WEIGHTS, START + 9)
    shuffled = list(seen)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    cut = begun(CARRIER)
    for second in (*sorted(cuts), 9):
        cut = absorb_observed(cut, shuffled, WEIGHTS, START + second)
    assert cut == whole
    assert absorb_observed(whole, seen, WEIGHTS, START + 9) == whole


@given(st.lists(rows(), max_size=30))
def test_every_exchange_of_a_slice_is_kept_and_never_more_values_than_were_declared(seen: list[ObservedRow]) -> None:
    evidence = absorb_observed(begun(CARRIER), seen, WEIGHTS, START + 9)
    arms = [arm for epoch in evidence.of_model.observed.values() for arm in (epoch.canary, epoch.stable)]
    values = {value for arm in arms for value in arm.slices.get("carrier", {})}
    assert len(values - {OTHER}) <= CARRIER.values_max
    kept = sum(counts.judged for arm in arms for counts in arm.slices.get("carrier", {}).values())
    assert kept == sum(
        counts.judged
        for each in seen
        if each.key.version in {V1, V2}
        for counts in each.observed.slices["carrier"].values()
    )


def test_what_was_read_of_equal_weights_is_one_epoch_and_of_each_arm_by_itself() -> None:
    seen = [row(0, V1, 1, read=5), row(1, V1, 3, read=6), row(1, V2, 3, read=2, flawed=1), row(2, V2, 2, read=9)]
    evidence = absorb_observed(begun(), seen, WEIGHTS, START + 2)
    observed = evidence.of_model.observed
    assert {bp: (epoch.canary.read, epoch.stable.read) for bp, epoch in observed.items()} == {100: (2, 11), 500: (9, 0)}
    assert observed_after(evidence) == START + 2


def test_seconds_before_the_start_and_beyond_the_watermark_are_not_read() -> None:
    seen = [row(-1, read=1), row(0, read=2), row(3, read=4)]
    assert absorb_observed(begun(), seen, WEIGHTS, START - 1) == begun()
    evidence = absorb_observed(begun(), seen, WEIGHTS, START + 2)
    assert evidence.of_model.observed[100].canary.read == 2


def test_a_slice_key_that_nobody_declared_at_the_start_is_left_out() -> None:
    seen = [row(0, slices={"carrier": {"UA": SliceCounts(1)}, "airport": {"SFO": SliceCounts(1)}})]
    evidence = absorb_observed(begun(CARRIER), seen, WEIGHTS, START)
    assert set(evidence.of_model.observed[100].canary.slices) == {"carrier"}


def test_where_callers_keep_their_arm_nothing_is_read_and_nothing_read_again_later() -> None:
    evidence = absorb_observed(begun(per_caller=True), [row(0, read=5)], WEIGHTS, START + 1)
    assert evidence.of_model.observed == {}
    assert observed_after(evidence) == START + 1


IMPOSSIBLE: dict[str, Observed] = {
    "negative": Observed(judged=-1),
    "not a number": Observed(read=nan),  # type: ignore[arg-type]
    "too many": Observed(judged=MOST_COUNTED + 1),
    "more bad than judged": Observed(judged=1, bad=2),
    "more flawed than read": Observed(read=1, flawed=2),
    "a negative flaw": Observed(read=1, flaws={Flaw.EMPTY: -1}),
    "an infinite measure": Observed(measures={"seconds": Measure(1, inf, inf)}),
    "a negative measure": Observed(measures={"seconds": Measure(1, -1.0, 1.0)}),
    "too few squares": Observed(measures={"seconds": Measure(2, 2.0, 1.0)}),
    "a measure of nothing": Observed(measures={"seconds": Measure(0, 1.0, 1.0)}),
    "a slice with more bad": Observed(slices={"carrier": {"UA": SliceCounts(1, 2)}}),
    "a slice below nothing": Observed(slices={"carrier": {"UA": SliceCounts(1, 0, -1)}}),
    "dearer than anything": Observed(measures={COST: Measure(2, 2.1, 2.3)}),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_have_been_read_is_not_added_and_voids_the_comparison(name: str) -> None:
    seen = [ObservedRow(TallyKey(START, FRAUD, 1, V2), IMPOSSIBLE[name], 1), row(0, V1, read=4)]
    evidence = absorb_observed(begun(CARRIER, cost_cap=1.0), seen, WEIGHTS, START)
    assert evidence.of_model.observed[100].canary == Observed()
    assert evidence.of_model.observed[100].stable.read == 4
    assert evidence.flaw is not None
    assert assess(evidence, DEFAULT_POLICY).verdict is Verdict.INVALID


def test_a_generation_that_nobody_made_voids_the_comparison() -> None:
    evidence = absorb_observed(begun(), [row(0, generation=9, read=1)], WEIGHTS, START)
    assert evidence.flaw == "an answer was read of an exchange drawn with weights that nobody set"


def test_an_ordinary_row_has_no_flaw() -> None:
    ordinary = Observed(
        5, 1, 4, 1, {Flaw.SCHEMA: 1}, {COST: Measure(3, 0.3, 0.03), "megabytes": Measure(1, 0.0, 0.0)}, {"a": {}}
    )
    assert flaw_of(ordinary, cost_cap=0.1) is None
