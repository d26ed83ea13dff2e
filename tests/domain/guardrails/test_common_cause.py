"""What no comparison sees: a ceiling, a cause that both versions share, and a stable that is the worse one."""

from dataclasses import replace

import numpy as np
import pytest
from domain.counts import START, arm, evidence
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.recent import (
    MIN_REFERENCE,
    STRETCH_ANSWERS,
    STRETCH_S,
    STRETCHES,
    Lately,
    Stretch,
    far_above,
    log_e_far_above,
    of_stable,
)
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow
from app.domain.guardrails.assess import assess
from app.domain.guardrails.common_cause import troubled_stable
from app.domain.guardrails.finding import Cause, Hold, Verdict
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail

STABLE, CANARY = VersionName("v1"), VersionName("v2")
ERRORS_ONLY = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"),))
EQUAL = evidence({5_000: (arm(5_000, 50), arm(5_000, 50))})


def lately(stable_bad: int, canary_bad: int, answers: int = 1_000, usual_rate: float | None = 0.01) -> Lately:
    return Lately((Stretch(START, answers, canary_bad, answers, stable_bad),), usual_rate=usual_rate)


def of_late(counts: Evidence, stable_bad: int, canary_bad: int) -> Evidence:
    return replace(counts, lately=lately(stable_bad, canary_bad))


def test_both_arms_far_above_the_usual_rate_is_a_cause_from_outside() -> None:
    seen = assess(of_late(EQUAL, 200, 190), ERRORS_ONLY)
    assert seen.hold == Hold(
        Cause.EXTERNAL,
        "v1 and v2 got worse together: 20.0 % of v1's answers are bad of late, usually 1.00 %, "
        "so the cause lies outside",
    )


@pytest.mark.parametrize(("stable_bad", "canary_bad"), [(10, 10), (16, 16), (25, 25), (200, 10), (10, 200)])
def test_one_arm_alone_or_a_usual_swing_is_no_cause_from_outside(stable_bad: int, canary_bad: int) -> None:
    assert assess(of_late(EQUAL, stable_bad, canary_bad), ERRORS_ONLY).held_by is None


def test_a_canary_that_is_proven_worse_is_turned_back_also_while_stable_suffers() -> None:
    worse = evidence({5_000: (arm(5_000, 150), arm(5_000, 50))})
    assert assess(of_late(worse, 200, 600), ERRORS_ONLY).verdict is Verdict.REGRESSED


def test_without_knowing_what_is_usual_nobody_is_far_above_it() -> None:
    unknown = replace(EQUAL, lately=lately(200, 200, usual_rate=None))
    assert assess(unknown, ERRORS_ONLY).held_by is None


def test_the_ceiling_holds_whatever_stable_does() -> None:
    policy = replace(ERRORS_ONLY, error_ceiling=0.05)
    seen = assess(of_late(EQUAL, 100, 100), policy)
    assert seen.hold is not None
    assert seen.hold.by == "ceiling"
    assert seen.verdict is not Verdict.REGRESSED
    assert seen.hold.because.startswith("at least 6.82 % of its answers are bad of late")
    assert seen.hold.because.endswith("with 99 % confidence at any time, and never more than 5.00 % may be")


@pytest.mark.parametrize("canary_bad", [0, 50, 55])
def test_a_rate_that_may_lie_below_the_ceiling_does_not_hold(canary_bad: int) -> None:
    assert assess(of_late(EQUAL, 0, canary_bad), replace(ERRORS_ONLY, error_ceiling=0.05)).held_by is None


def test_a_canary_proven_better_than_a_suffering_stable_need_not_wait_for_coverage() -> None:
    better = evidence({5_000: (arm(5_000, 50), arm(5_000, 200))})
    seen = assess(of_late(better, 200, 10), ERRORS_ONLY)
    assert seen.verdict is Verdict.HEALTHY
    assert seen.forward == (
        "v1 itself got worse, 20.0 % of its answers are bad of late, usually 1.00 %, and v2 is proven better"
    )
    assert assess(of_late(better, 10, 10), ERRORS_ONLY).forward is None, "stable does not suffer"
    assert assess(of_late(EQUAL, 200, 10), ERRORS_ONLY).forward is None, "the canary is not proven better"
    assert assess(of_late(better, 200, 200), ERRORS_ONLY).forward is None, "the canary suffers too"


@pytest.mark.parametrize("usual", [0.35, 1.0])
def test_nothing_can_be_far_above_a_stable_that_fails_every_third_time(usual: float) -> None:
    always = replace(EQUAL, lately=lately(1_000, 1_000, usual_rate=usual))
    assert troubled_stable(always.lately) is None


@pytest.mark.parametrize("usual", [0.01, 0.05, 0.2])
def test_a_swing_of_60_percent_is_never_far_above_and_a_rate_at_the_limit_seldom(usual: float) -> None:
    """Ten days of a stretch a minute, 300 answers each, on a wave of two hours: seeded."""
    rng = np.random.default_rng(17)
    swinging = [usual * (1.0 + 0.6 * np.sin(i / 19.0)) for i in range(14_400)]
    assert alarms(swinging, usual, rng) == 0
    # At the limit itself each run of stretches may reach 1,000 with a chance of at most 0.001.
    assert alarms([far_above(usual)] * 2_400, usual, rng) <= 2_400 * 0.001 + 6


def alarms(rates: list[float], usual: float, rng: np.random.Generator) -> int:
    """In how many looks stable was called far above its usual rate."""
    bad = rng.binomial(300, rates)
    found = 0
    for end in range(1, len(rates) + 1):
        first = max(0, end - STRETCHES)
        stretches = [Stretch(i, stable=300, stable_bad=int(bad[i])) for i in range(first, end)]
        found += log_e_far_above(stretches, of_stable, far_above(usual)) >= np.log(1_000.0)
    return found


def test_an_outage_is_seen_though_it_began_a_moment_ago() -> None:
    fine = [Stretch(i, stable=1_000, stable_bad=10) for i in range(STRETCHES - 1)]
    assert log_e_far_above([*fine, Stretch(99, stable=6, stable_bad=6)], of_stable, 0.03) > np.log(1_000.0)


rows = st.lists(
    st.tuples(st.integers(0, 40), st.booleans(), st.integers(0, 120), st.integers(0, 120)), max_size=40
).map(lambda drawn: sorted(drawn, key=lambda each: each[0]))


def tally_row(second: int, canary: bool, ok: int, bad: int) -> TallyRow:
    key = TallyKey(START + second, ModelName("fraud"), 1, CANARY if canary else STABLE)
    return TallyRow(key, Tally(ok + bad, {Outcome.OK: ok, Outcome.UPSTREAM_ERROR: bad}), 1)


@settings(max_examples=60)
@given(rows, st.lists(st.integers(0, 41), max_size=5))
def test_stretches_are_the_same_however_the_reading_is_cut(
    drawn: list[tuple[int, bool, int, int]], cuts: list[int]
) -> None:
    once = Lately().after([tally_row(*each) for each in drawn], CANARY)
    pieces = Lately()
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 99], strict=True):
        pieces = pieces.after([tally_row(*each) for each in drawn if first <= each[0] < last], CANARY)
    assert pieces == once
    assert len(once.stretches) <= STRETCHES
    assert all(stretch.stable_bad <= stretch.stable for stretch in once.stretches)


def test_a_stretch_ends_when_it_is_long_and_full_and_old_ones_are_forgotten() -> None:
    assert not Stretch(0, stable=STRETCH_ANSWERS).is_over(STRETCH_S - 1)
    assert not Stretch(0, stable=STRETCH_ANSWERS - 1).is_over(10**6)
    assert Stretch(0, stable=STRETCH_ANSWERS).is_over(STRETCH_S)
    many = Lately().after([tally_row(second, False, 100, 0) for second in range(0, 400, STRETCH_S)], CANARY)
    assert len(many.stretches) == STRETCHES
    assert many.stretches[-1].since_s == START + 390


def test_what_is_usual_is_learnt_once_from_enough_answers() -> None:
    young = Lately().after([tally_row(0, False, MIN_REFERENCE - 21, 20)], CANARY)
    assert young.usual_rate is None
    known = young.after([tally_row(1, False, 1, 0)], CANARY)
    assert known.usual_rate == pytest.approx(0.02)
    assert known.after([tally_row(2, False, 0, 5_000)], CANARY).usual_rate == known.usual_rate
