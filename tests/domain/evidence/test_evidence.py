"""The ledger reads each second once, in any order, both arms alike, and freezes its thresholds once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import Policy
from app.domain.evidence.evidence import Evidence, absorb
from app.domain.evidence.recent import LEAST_REFERENCE, MIN_REFERENCE, MOST_REFERENCE
from app.domain.evidence.tally import Horizon, Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.stats.latency_histogram import edge_us, latency_bin

STABLE, CANARY, OTHER = VersionName("v1"), VersionName("v2"), VersionName("v0")
START = 1_900_000_000
ADAPTER: TypeAdapter[Any] = TypeAdapter(Evidence)
WEIGHTS = {7: 0, 8: 100, 9: 100, 10: 5_000}

counts = st.integers(0, 400)
tallies = st.builds(
    lambda ok, errors, timeouts, cancelled, lost, bins: Tally(
        ok + errors + timeouts + cancelled + lost,
        {
            Outcome.OK: ok,
            Outcome.UPSTREAM_ERROR: errors,
            Outcome.TIMEOUT: timeouts,
            Outcome.CANCELLED: cancelled,
        },
        3,
        bins,
    ),
    *[counts] * 5,
    st.dictionaries(st.integers(400, 700), st.integers(1, 300), max_size=4),
)


def row(second: int, generation: int, version: VersionName, tally: Tally) -> TallyRow:
    return TallyRow(TallyKey(START + second, ModelName("fraud"), generation, version), tally, 1)


rows = st.lists(
    st.builds(row, st.integers(0, 12), st.sampled_from(sorted(WEIGHTS)), st.sampled_from([STABLE, CANARY]), tallies),
    max_size=25,
    unique_by=lambda each: (each.key.second, each.key.generation, each.key.version),
)


AT_98 = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"), guardrail("latency", quantile=0.98)))


def begun(reference: Tally | None = None, policy: Policy | None = None) -> Evidence:
    return Evidence.begin(STABLE, CANARY, slow_limits(policy or DEFAULT_POLICY), reference or Tally(), START)


def mature(status: int, latency: int | None = None) -> Watermark:
    return Watermark(START + status, START + (status if latency is None else latency))


@settings(max_examples=40)
@given(rows.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_the_order_of_rows_does_not_matter(orders: tuple[list[TallyRow], list[TallyRow]]) -> None:
    read = [absorb(begun(), order, WEIGHTS, mature(12)) for order in orders]
    assert read[0] == read[1]


@settings(max_examples=50)
@given(rows, st.lists(st.tuples(st.integers(-2, 12), st.integers(-2, 12)), max_size=6))
def test_reading_in_pieces_and_again_says_the_same_as_reading_once(
    drawn: list[TallyRow], looks: list[tuple[int, int]]
) -> None:
    pieces = begun()
    for status, latency in [*looks, (12, 12), (12, 12)]:
        pieces = absorb(pieces, drawn, WEIGHTS, mature(status, latency))
    once = absorb(begun(), drawn, WEIGHTS, mature(12))
    assert pieces == once


@settings(max_examples=50)
@given(rows)
def test_nothing_that_was_counted_is_lost(drawn: list[TallyRow]) -> None:
    evidence = absorb(begun(), drawn, WEIGHTS, mature(12))
    for version in (STABLE, CANARY):
        arms = [getattr(epoch, "canary" if version == CANARY else "stable") for epoch in evidence.by_weight.values()]
        given_rows = [each.tally for each in drawn if each.key.version == version]
        assert sum(arm.drawn for arm in arms) == sum(tally.exchanges for tally in given_rows)
        assert sum(arm.judged for arm in arms) == sum(tally.judged for tally in given_rows)
        assert sum(arm.bad for arm in arms) == sum(tally.errors + tally.timeouts for tally in given_rows)
    assert set(evidence.by_weight) <= set(WEIGHTS.values())


def test_generations_of_equal_weight_are_one_epoch() -> None:
    tally = Tally(10, {Outcome.OK: 10})
    evidence = absorb(begun(), [row(0, 8, CANARY, tally), row(1, 9, CANARY, tally)], WEIGHTS, mature(1))
    assert evidence.by_weight[100].canary.drawn == 20


def test_seconds_before_the_start_after_the_watermark_and_other_versions_are_not_read() -> None:
    tally = Tally(10, {Outcome.OK: 10})
    drawn = [row(-1, 8, STABLE, tally), row(4, 8, STABLE, tally), row(1, 8, OTHER, tally)]
    assert absorb(begun(), drawn, WEIGHTS, mature(3)).by_weight == {}


def test_a_generation_nobody_made_is_a_flaw_not_a_guess() -> None:
    evidence = absorb(begun(), [row(0, 99, STABLE, Tally(1)), row(1, 8, STABLE, Tally(7))], WEIGHTS, mature(1))
    assert evidence.flaw == "an exchange was drawn with weights that nobody set"
    assert evidence.by_weight[100].stable.drawn == 7


def answers(n: int, ms: float) -> Tally:
    return Tally(n, {Outcome.OK: n}, 0, {latency_bin(ms * 1_000): n})


def read(evidence: Evidence, *drawn: TallyRow, through: int) -> Evidence:
    return absorb(evidence, drawn, WEIGHTS, mature(through))


def test_thresholds_come_from_the_history_before_the_start() -> None:
    evidence = begun(answers(MIN_REFERENCE, 40.0))
    assert [limit.level for limit in evidence.thresholds] == [limit.level for limit in evidence.limits]
    assert evidence.stable_bins == {}
    for limit in evidence.thresholds:
        assert edge_us(limit.stable_bin) > 40_000 > edge_us(limit.stable_bin - 1)
        assert edge_us(limit.canary_bin) >= edge_us(limit.stable_bin) * 1.25 + 5_000 > edge_us(limit.canary_bin - 1)


def test_without_history_thresholds_freeze_during_the_rollout_and_only_later_seconds_count() -> None:
    evidence = begun(answers(400, 40.0))
    assert evidence.thresholds == ()
    evidence = read(evidence, row(0, 10, STABLE, answers(599, 40.0)), row(0, 10, CANARY, answers(599, 90.0)), through=0)
    assert evidence.thresholds == ()
    evidence = read(evidence, row(1, 10, STABLE, answers(1, 40.0)), row(1, 10, CANARY, answers(50, 90.0)), through=1)
    frozen = evidence.thresholds
    assert frozen
    assert evidence.by_weight[5_000].canary.timed == 0
    evidence = read(evidence, row(2, 10, STABLE, answers(30, 300.0)), row(2, 10, CANARY, answers(9, 90.0)), through=2)
    assert evidence.thresholds == frozen
    assert evidence.by_weight[5_000].canary.slow == (9,) * len(frozen)
    assert evidence.by_weight[5_000].stable.slow == (30,) * len(frozen)


def test_the_margin_lets_a_slightly_slower_canary_pass_and_not_stable() -> None:
    evidence = read(
        begun(answers(2_000, 40.0)),
        row(0, 10, STABLE, answers(5, 45.0)),
        row(0, 10, CANARY, answers(5, 45.0)),
        through=0,
    )
    assert evidence.by_weight[5_000].stable.slow[0] == 5
    assert evidence.by_weight[5_000].canary.slow[0] == 0


def test_an_exchange_open_for_the_latency_horizon_is_slow_for_both_arms() -> None:
    evidence = begun(answers(2_000, 40.0))
    horizon_ms = evidence.latency_horizon_ms
    assert horizon_ms is not None
    waited = latency_bin(horizon_ms * 1_000)
    assert all(waited >= max(limit.stable_bin, limit.canary_bin) for limit in evidence.thresholds)
    assert begun().latency_horizon_ms is None


def test_the_proven_quantile_is_always_among_the_limits() -> None:
    assert 0.98 in {limit.level for limit in begun(policy=AT_98).limits}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Tally(), LEAST_REFERENCE),
        (Tally(900, {Outcome.OK: 450, Outcome.UPSTREAM_ERROR: 450}), LEAST_REFERENCE),
        (Tally(10_000, {Outcome.OK: 9_800, Outcome.UPSTREAM_ERROR: 150, Outcome.TIMEOUT: 50}), 0.02),
        (Tally(10_000, {Outcome.OK: 10_000}), LEAST_REFERENCE),
        (Tally(10_000, {Outcome.UPSTREAM_ERROR: 10_000}), MOST_REFERENCE),
    ],
)
def test_the_reference_rate_is_believed_only_when_enough_stands_behind_it(reference: Tally, expected: float) -> None:
    assert begun(reference).error_reference == expected


def test_the_rate_is_the_greater_of_late_and_of_all() -> None:
    assert begun().exchanges_per_s == 0.0
    evidence = read(begun(), *[row(s, 8, STABLE, answers(10, 1.0)) for s in range(20)], through=19)
    assert evidence.exchanges_per_s == 10.0
    surge = read(evidence, *[row(s, 8, STABLE, answers(100, 1.0)) for s in range(20, 30)], through=29)
    assert surge.exchanges_per_s == 100.0
    calm = read(surge, through=59)
    assert calm.exchanges_per_s == pytest.approx(1_200 / 60)


@settings(max_examples=25)
@given(rows)
def test_evidence_survives_json_bit_for_bit(drawn: list[TallyRow]) -> None:
    evidence = absorb(begun(answers(1_200, 33.0)), drawn, WEIGHTS, mature(12))
    assert ADAPTER.validate_json(ADAPTER.dump_json(evidence)) == evidence
    assert ADAPTER.validate_python(ADAPTER.dump_python(evidence, mode="json")) == evidence


def test_a_week_of_seconds_leaves_a_small_ledger() -> None:
    evidence = begun(answers(2_000, 40.0))
    busy = dict(enumerate([1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000] * 9))
    drawn: Sequence[TallyRow] = [row(g, g, version, answers(10**6, 41.0)) for g in busy for version in (STABLE, CANARY)]
    evidence = absorb(evidence, drawn, busy, mature(len(busy)))
    assert len(ADAPTER.dump_json(replace(evidence))) < 8_000
    assert evidence.read_through[Horizon.STATUS] == START + len(busy)


@settings(max_examples=40)
@given(rows, rows, st.lists(st.integers(0, 12), max_size=4))
def test_per_caller_only_first_exchanges_are_evidence_and_all_exchanges_are_exposure(
    firsts: list[TallyRow], exposed: list[TallyRow], looks: list[int]
) -> None:
    per_caller = Evidence.begin(STABLE, CANARY, slow_limits(DEFAULT_POLICY), Tally(), START, per_caller=True)
    for through in [*looks, 12]:
        per_caller = absorb(per_caller, firsts, WEIGHTS, mature(through), exposed)
    per_exchange = absorb(begun(), firsts, WEIGHTS, mature(12))
    assert replace(per_caller, per_caller=False, recent_exchanges=()) == per_exchange
    assert per_caller.draws_per_s == per_exchange.exchanges_per_s
    of_late = sum(each.tally.exchanges for each in exposed if each.key.second > START + 2)
    assert per_caller.exchanges_per_s == max(per_exchange.draws_per_s, of_late / 10)


def test_who_is_not_sticky_is_exposed_as_it_is_judged() -> None:
    drawn = row(3, 10, CANARY, Tally(40, {Outcome.OK: 40}))
    evidence = absorb(begun(), [drawn], WEIGHTS, mature(3), [drawn, drawn])
    assert not evidence.per_caller
    assert evidence.exchanges_per_s == evidence.draws_per_s == 10.0
