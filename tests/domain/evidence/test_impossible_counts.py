"""Whatever is counted, the engine says something: no exception, no promotion, the right name."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf, isfinite, nan
from typing import Any

import pytest
from domain.counts import START, arm, ended, evidence
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import OnDeadline, OnRegression, Policy
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence, absorb
from app.domain.evidence.tally import MOST_COUNTED, Horizon, Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Assessment, Verdict
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import _RANGES, DEFAULT_POLICY, EVERY_MODEL, check_policy
from app.domain.reports.outlook import advice, outlook
from app.domain.rollout.rollout import Assessed, Phase, Rollout, RolloutId, Started, begin
from app.domain.rollout.transitions import advance

STABLE, CANARY = VersionName("v1"), VersionName("v2")
ERRORS, TIMEOUTS, LATENCY = EVERY_MODEL
WEIGHTS = {1: 0, 2: 1, 3: 5_000, 4: 10_000}
POLICIES = (
    DEFAULT_POLICY,
    replace(DEFAULT_POLICY, guardrails=(ERRORS,), error_ceiling=0.05),
    replace(
        DEFAULT_POLICY, guardrails=(replace(ERRORS, on_regression=OnRegression.HOLD), replace(LATENCY, required=False))
    ),
    replace(DEFAULT_POLICY, on_deadline=OnDeadline.PROMOTE_IF_BELOW, deadline_margin=0.01, max_weight_bp=1),
)
policies = st.sampled_from(POLICIES)

# What a broken writer might leave: no number, less than nothing, half an answer, far too many.
counts: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 2_000), st.sampled_from([nan, inf, -inf, -1, -(10**9), MOST_COUNTED + 1, 10**400, 0.5])
)
# Outcomes are read as whole numbers, or not at all.
whole: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 2_000), st.sampled_from([-1, -(10**9), MOST_COUNTED + 1, 10**400])
)
sound_counts = st.one_of(st.integers(0, 3_000), st.sampled_from([0, 1, MOST_COUNTED // 4]))


def any_arm(numbers: tuple[Any, ...]) -> ArmCounts:
    drawn, fine, cancelled, errors, timeouts, timed, slow = numbers
    outcomes = {
        Outcome.OK: fine,
        Outcome.CANCELLED: cancelled,
        Outcome.OVERLOADED: errors,
        Outcome.TIMEOUT: timeouts,
    }
    return ArmCounts(drawn, outcomes, timed, (slow,) * 8)


def counted(canary: ArmCounts, stable: ArmCounts, weight_bp: int) -> Evidence:
    return replace(evidence({}), by_weight={weight_bp: EpochCounts(canary, stable)})


def judged(rollout: Rollout, seen: Assessment, after_s: float = 1.0) -> Rollout:
    return advance(rollout, Assessed(seen, canary_ready=True), rollout.phase_since + timedelta(seconds=after_s)).rollout


def baking(policy: Policy) -> Rollout:
    """A rollout whose canary has its traffic already."""
    begun = begin(
        RolloutId("r1"), ModelName("fraud"), STABLE, CANARY, policy, Tally(), datetime.fromtimestamp(START, UTC)
    )
    started = advance(begun, Started(), begun.started_at).rollout
    lone = assess(evidence({}), policy)
    exposed = judged(started, lone, policy.warmup_s)
    assert exposed.phase in {Phase.RAMPING, Phase.BAKING}
    return exposed


@settings(max_examples=300)
@given(
    *[st.tuples(counts, *[whole] * 4, counts, counts)] * 2, st.sampled_from([-1, 0, 1, 5_000, 10_000, 10_001]), policies
)
def test_counts_that_cannot_be_are_invalid_and_never_promote(
    canary: tuple[Any, ...], stable: tuple[Any, ...], weight_bp: int, policy: Policy
) -> None:
    both = [any_arm(numbers) for numbers in (canary, stable)]
    seen = assess(counted(both[0], both[1], weight_bp), policy)
    possible = 0 <= weight_bp <= 10_000 and all(map(is_possible, both))
    assert (seen.verdict is Verdict.INVALID and seen.findings[0].metric == "counts") is not possible
    after = judged(baking(policy), seen)
    if not possible:
        assert (after.phase, after.weight_bp) == (Phase.INVALID, 0)
        assert seen.findings[0].sentence.endswith("; the comparison is void.")


def is_possible(counted_arm: ArmCounts) -> bool:
    """The rule of `soundness`, said once more in other words."""
    numbers = (counted_arm.drawn, *counted_arm.outcomes.values())
    if any(not number >= 0 or number > MOST_COUNTED for number in (*numbers, counted_arm.timed, *counted_arm.slow)):
        return False
    return sum(numbers[1:]) <= counted_arm.drawn and max(counted_arm.slow) <= counted_arm.timed


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from([0, 1, 50, 5_000, 10_000]), st.tuples(*[sound_counts] * 8), max_size=3),
    policies,
    st.sampled_from([1e-3, 0.01, 0.99]),
)
def test_any_counts_that_can_be_are_judged_in_finite_numbers(
    drawn: dict[int, tuple[int, ...]], policy: Policy, reference: float
) -> None:
    def both(numbers: tuple[int, ...]) -> EpochCounts:
        a, b, c, d, e, f, g, h = numbers
        canary = ended(a + b + c + d, a + b + c, a + b + c, a, b, a + c, (min(a, c),) * 8)
        return EpochCounts(canary, ended(e + f + g + h, e + f + g, e + f + g, e, f, g, (min(f, g),) * 8))

    by_weight = {weight_bp: both(numbers) for weight_bp, numbers in drawn.items()}
    counted = replace(evidence({}), by_weight=by_weight, error_reference=reference)
    seen = assess(counted, policy)
    assert isfinite(seen.log_e)
    assert 0.0 <= seen.excess_bound <= 1.0
    ahead = outlook(counted, policy, seen)
    assert ahead.eta_s is None or ahead.eta_s >= 0.0
    if not any(0 < weight_bp < 10_000 and epoch.canary.judged for weight_bp, epoch in by_weight.items()):
        assert seen.verdict in {Verdict.NO_EVENTS, Verdict.INVALID}
    for finding in seen.findings:
        assert all(isfinite(number) for number in finding.numbers.values())
        assert "nan" not in finding.sentence
    judged(baking(policy), seen)


rows = st.lists(
    st.tuples(
        st.integers(-3, 12),
        st.sampled_from([1, 2, 3, 4, 99]),
        st.sampled_from([STABLE, CANARY]),
        counts,
        st.dictionaries(st.sampled_from(Outcome), counts, max_size=3),
        st.dictionaries(st.integers(-2, 2_000), counts, max_size=2),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(rows, st.lists(st.tuples(st.integers(-9, 10**9), st.integers(-9, 10**9)), max_size=4), policies)
def test_any_rows_are_read_and_what_cannot_have_happened_voids_the_comparison(
    drawn: list[tuple[Any, ...]], looks: list[tuple[int, int]], policy: Policy
) -> None:
    read = Evidence.begin(STABLE, CANARY, slow_limits(policy), Tally(), START)
    tallies = [
        TallyRow(TallyKey(START + second, ModelName("fraud"), generation, version), Tally(n, outcomes, 0, bins), 1)
        for second, generation, version, n, outcomes, bins in drawn
    ]
    for status, latency in [*looks, (12, 12)]:
        read = absorb(read, tallies, WEIGHTS, Watermark(START + status, START + latency))
    wrong = any(each[0] >= 0 and not could_be(*each[1:]) for each in drawn)
    seen = assess(read, policy)
    assert (read.flaw is not None) is wrong
    if wrong:
        assert seen.verdict is Verdict.INVALID
    assert seen.verdict is not Verdict.HEALTHY
    assert judged(baking(policy), seen).phase is not Phase.PROMOTED
    assert isfinite(read.draws_per_s)
    assert isfinite(read.exchanges_per_s)


def could_be(generation: int, _: VersionName, n: float, outcomes: dict[Outcome, float], bins: dict[int, float]) -> bool:
    numbers = [n, *outcomes.values(), *bins.values()]
    if generation == 99 or not all(number >= 0 and number <= MOST_COUNTED for number in numbers):
        return False
    return sum(outcomes.values()) <= n and all(0 <= index <= 1_700 for index in bins)


FAIR = evidence({5_000: (arm(5_000, 50, slow=60), arm(5_000, 50, slow=250))})


@pytest.mark.parametrize("reference", [nan, 0.0, -0.1, 1.0, 1.1, inf])
def test_a_reference_that_is_no_rate_is_invalid(reference: float) -> None:
    seen = assess(replace(FAIR, error_reference=reference), DEFAULT_POLICY)
    assert (seen.verdict, seen.findings[0].metric) == (Verdict.INVALID, "counts")


def test_an_arm_that_was_never_drawn_is_no_proof() -> None:
    epoch = FAIR.by_weight[5_000]
    no_canary = assess(
        replace(FAIR, by_weight={5_000: replace(epoch, canary=ArmCounts())}),
        replace(DEFAULT_POLICY, guardrails=(ERRORS,)),
    )
    assert no_canary.verdict is Verdict.INVALID, "the coin does not draw one arm 5,000 times"
    few = evidence({5_000: (ArmCounts(), arm(5, slow=1))})
    assert assess(few, DEFAULT_POLICY).verdict is Verdict.NO_EVENTS
    no_stable = assess(replace(FAIR, by_weight={5_000: replace(epoch, stable=ArmCounts())}), DEFAULT_POLICY)
    assert no_stable.verdict is Verdict.REGRESSED, "all bad answers are the canary's, and R1 comes first"


@pytest.mark.parametrize(("name", "value"), [(name, edge) for name, *edges in _RANGES for edge in edges])
def test_a_policy_at_an_edge_of_what_may_be_is_judged(name: str, value: float) -> None:
    wide: dict[str, Any] = {"thaw_below": 1.0, "freeze_at": 1e6, name: value}
    if name == "deadline_margin":
        wide["on_deadline"] = OnDeadline.PROMOTE_IF_BELOW
    policy = check_policy(replace(DEFAULT_POLICY, **wide))
    seen = assess(FAIR, policy)
    outlook(FAIR, policy, seen)
    advice(replace(FAIR, usual_per_s=1.0), policy)
    assert isfinite(seen.log_e)
    assert 0.0 <= seen.excess_bound <= 1.0


def test_a_stable_that_never_fails_and_has_no_history_is_a_baseline_all_the_same() -> None:
    perfect = replace(evidence({5_000: (arm(5_000, slow=60), arm(5_000, slow=250))}), error_reference=0.001)
    assert assess(perfect, DEFAULT_POLICY).verdict is Verdict.HEALTHY


def test_errors_that_stop_arriving_prove_nothing_however_many_answers_stable_gives() -> None:
    lost = replace(arm(500, 5, slow=6), drawn=50_000, outcomes=ended(50_000, 50_000, 500, 5).outcomes)
    seen = assess(evidence({5_000: (lost, arm(50_000, 500, slow=2_500))}), DEFAULT_POLICY)
    assert seen.verdict is not Verdict.HEALTHY


jumps = st.sampled_from([-1e9, -3_600.0, -1.0, 0.0, 0.5, 1.0, 30.0, 700.0, 1e5, 1e8, 2.5e11])


@settings(max_examples=200)
@given(st.lists(st.tuples(jumps, st.booleans()), min_size=1, max_size=12), policies)
def test_a_clock_that_jumps_never_promotes_what_is_not_proven(looks: list[tuple[float, bool]], policy: Policy) -> None:
    rollout = baking(policy)
    now = rollout.phase_since
    seen = assess(evidence({1: (arm(60, 1), arm(9_000, 90))}), policy)
    assert seen.verdict is not Verdict.HEALTHY
    for jump, ready in looks:
        try:
            now += timedelta(seconds=jump)
        except OverflowError:
            now = datetime.max.replace(tzinfo=UTC)
        if rollout.phase in {Phase.ROLLED_BACK, Phase.ABORTED}:
            break
        rollout = advance(rollout, Assessed(seen, canary_ready=ready), now).rollout
        assert rollout.phase is not Phase.PROMOTED
        assert rollout.phase_deadline is not None or rollout.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("behind_s", [300.0, -300.0, 1e8, -1e8])
def test_the_weight_stays_while_what_was_read_and_the_clock_are_far_apart(behind_s: float) -> None:
    rollout = baking(replace(DEFAULT_POLICY, guardrails=(ERRORS,)))
    seen = replace(assess(FAIR, replace(DEFAULT_POLICY, guardrails=(ERRORS,))), verdict=Verdict.INCONCLUSIVE_HEALTHY)
    now = rollout.phase_since + timedelta(seconds=1)
    fresh = replace(seen, excess_bound=1.0, exchanges_per_s=50.0, read_through_s=int(now.timestamp()))
    assert advance(rollout, Assessed(fresh), now).rollout.weight_bp == 2
    apart = replace(fresh, exchanges_per_s=1_000.0, read_through_s=int(now.timestamp() - behind_s))
    assert advance(rollout, Assessed(apart), now).rollout.weight_bp <= rollout.weight_bp


def test_seconds_that_are_missing_are_neither_good_nor_bad_news() -> None:
    begun = Evidence.begin(STABLE, CANARY, slow_limits(DEFAULT_POLICY), Tally(), START)
    jumped = absorb(begun, (), WEIGHTS, Watermark(START + 10**6, START + 10**6))
    assert jumped.read_through == dict.fromkeys(Horizon, START + 10**6)
    seen = assess(jumped, DEFAULT_POLICY)
    assert (seen.verdict, seen.excess_bound, seen.exchanges_per_s) == (Verdict.NO_EVENTS, 1.0, 0.0)
