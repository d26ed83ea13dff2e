"""What each guardrail may do: turn back, hold, warn, or only look."""

from dataclasses import replace
from math import log

import pytest
from domain.counts import arm, evidence, found

from app.domain.catalog.policy import Guardrail, OnRegression, Policy
from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL
from app.domain.guardrails.registry import log_limit, shares

ERRORS, TIMEOUTS, LATENCY = EVERY_MODEL
SLOW = evidence({5_000: (arm(5_000, 50, slow=900), arm(5_000, 50, slow=250))})
FINE = evidence({5_000: (arm(5_000, 50, slow=60), arm(5_000, 50, slow=250))})
# As slow as the margin allows: suspicious of nothing, proven of nothing.
UNPROVEN = evidence({5_000: (arm(5_000, 50, slow=250), arm(5_000, 50, slow=250))})


def policy(*guardrails: Guardrail) -> Policy:
    return replace(DEFAULT_POLICY, guardrails=guardrails)


def test_a_guardrail_that_rolls_back_turns_back() -> None:
    seen = assess(SLOW, policy(ERRORS, LATENCY))
    assert (seen.verdict, str(seen.trigger), seen.held_by) == (Verdict.REGRESSED, "latency", None)


def test_a_guardrail_that_holds_asks_for_the_lowest_weight_and_never_turns_back() -> None:
    seen = assess(SLOW, policy(ERRORS, replace(LATENCY, on_regression=OnRegression.HOLD)))
    assert (seen.verdict, seen.held_by) == (Verdict.INCONCLUSIVE_WORSE, "latency")
    assert seen.log_e < log(3)
    assert found(seen, "latency").verdict is Verdict.REGRESSED
    assert found(seen, "latency").sentence.endswith("; it is held, not turned back.")
    assert seen.hold is not None
    assert "took over" in seen.hold.because


def test_a_warning_neither_holds_nor_blocks() -> None:
    seen = assess(SLOW, policy(ERRORS, replace(LATENCY, on_regression=OnRegression.WARN)))
    assert (seen.verdict, seen.held_by, seen.unverified) == (Verdict.HEALTHY, None, ("latency",))
    assert found(seen, "latency").sentence.endswith("; a warning, nothing follows.")


@pytest.mark.parametrize(
    ("on_regression", "would"),
    [
        (OnRegression.ROLLBACK, "would have turned v2 back"),
        (OnRegression.HOLD, "would have held v2"),
        (OnRegression.WARN, "would have warned"),
    ],
)
def test_a_dry_run_is_told_and_changes_nothing_else(on_regression: OnRegression, would: str) -> None:
    trial = replace(LATENCY, on_regression=on_regression, dry_run=True)
    seen, without = assess(SLOW, policy(ERRORS, trial)), assess(SLOW, policy(ERRORS))
    told = found(seen, "latency")
    assert told.dry_run
    assert told.verdict is Verdict.REGRESSED
    assert told.sentence.endswith(f"; a dry run, it {would}.")
    assert seen.verdict is without.verdict is Verdict.HEALTHY
    assert (seen.log_e, seen.trigger, seen.held_by) == (without.log_e, without.trigger, None)
    assert seen.unverified == ()


def test_promotion_does_not_wait_for_a_proof_that_is_not_required_and_says_so() -> None:
    assert assess(UNPROVEN, policy(ERRORS, LATENCY)).verdict is Verdict.INCONCLUSIVE_HEALTHY
    seen = assess(UNPROVEN, policy(ERRORS, replace(LATENCY, required=False)))
    assert (seen.verdict, seen.unverified) == (Verdict.HEALTHY, ("latency",))
    proven = assess(FINE, policy(ERRORS, replace(LATENCY, required=False)))
    assert (proven.verdict, proven.unverified) == (Verdict.HEALTHY, ())


def test_what_is_not_required_still_turns_back() -> None:
    seen = assess(SLOW, policy(ERRORS, replace(LATENCY, required=False)))
    assert (seen.verdict, str(seen.trigger)) == (Verdict.REGRESSED, "latency")


def test_only_live_guardrails_that_roll_back_share_the_alarm() -> None:
    hold = replace(LATENCY, on_regression=OnRegression.HOLD)
    warn = replace(TIMEOUTS, on_regression=OnRegression.WARN)
    trial = replace(LATENCY, dry_run=True)
    assert shares(policy(ERRORS, warn, hold, trial)) == {"errors": 1.0}
    assert log_limit(policy(ERRORS, hold), ERRORS) == log_limit(policy(ERRORS), ERRORS) == pytest.approx(log(100))
    for alone in (hold, warn, trial):
        assert log_limit(policy(ERRORS, alone), alone) == pytest.approx(log(100))


def test_errors_that_hold_leave_nobody_to_turn_back() -> None:
    only_hold = policy(replace(ERRORS, on_regression=OnRegression.HOLD))
    seen = assess(evidence({5_000: (arm(500, 250), arm(500, 5))}), only_hold)
    assert (seen.verdict, seen.log_e, seen.held_by) == (Verdict.INCONCLUSIVE_WORSE, 0.0, "errors")


def test_a_dry_run_may_use_another_margin_than_the_live_guardrail() -> None:
    live, trial = replace(LATENCY, margin=3.0), replace(LATENCY, margin=0.0, floor=0.0, dry_run=True)
    both = policy(ERRORS, trial, live)
    begun = evidence({}, policy=both)
    assert len(begun.thresholds) == len(begun.limits) == 16
    # The live guardrail's limits come first: nobody is that slow, but many are by the trial's.
    canary = replace(arm(5_000, 50), timed=5_000, slow=(10,) * 8 + (900,) * 8)
    stable = replace(arm(5_000, 50), timed=5_000, slow=(250,) * 16)
    seen = assess(evidence({5_000: (canary, stable)}, policy=both), both)
    tried, acting = (each for each in seen.findings if each.metric == "latency")
    assert (tried.verdict, acting.verdict) == (Verdict.REGRESSED, Verdict.HEALTHY)
    assert seen.verdict is Verdict.HEALTHY


def test_a_policy_that_the_evidence_was_not_counted_for_proves_no_latency() -> None:
    seen = assess(FINE, policy(ERRORS, replace(LATENCY, margin=0.5)))
    assert found(seen, "latency").verdict is Verdict.INSUFFICIENT_DATA
    assert seen.verdict is Verdict.INCONCLUSIVE_HEALTHY


def test_a_share_of_the_margin_is_the_guardrails_own() -> None:
    worse = evidence({5_000: (arm(20_000, 500), arm(20_000, 200))})
    lax = policy(replace(ERRORS, margin=5.0, floor=0.2))
    assert found(assess(worse, policy(ERRORS)), "errors").log_e_not_worse != pytest.approx(
        found(assess(worse, lax), "errors").log_e_not_worse
    )


def untimed(count: int, counts: Evidence) -> Evidence:
    """The same evidence after so many more exchanges of each arm, of which only stable's were timed, and quick."""
    epoch = counts.by_weight[5_000]
    canary = replace(epoch.canary, awaited=epoch.canary.timed + count)
    stable = replace(epoch.stable, timed=epoch.stable.timed + count, awaited=epoch.stable.timed + count)
    return replace(counts, by_weight={5_000: replace(epoch, canary=canary, stable=stable)})


def test_latencies_that_stop_coming_prove_nothing_any_more_and_are_no_harm_either() -> None:
    assert assess(untimed(0, FINE), DEFAULT_POLICY).verdict is Verdict.HEALTHY
    seen = assess(untimed(2_000, FINE), DEFAULT_POLICY)
    assert seen.verdict is Verdict.INCONCLUSIVE_HEALTHY
    latency = found(seen, "latency")
    assert (latency.log_e_worse or 0.0) < log(3)
    assert latency.sentence.endswith("28.6 % of v2's latencies never came: none of them proves that it is quick.")


def test_latencies_that_stopped_coming_still_speak_against_the_canary() -> None:
    assert assess(untimed(2_000, SLOW), DEFAULT_POLICY).verdict is Verdict.REGRESSED


def test_stables_missing_latencies_make_nobody_slow() -> None:
    epoch = FINE.by_weight[5_000]
    lost = replace(epoch.stable, timed=2_500, slow=(125,) * 8, awaited=5_000)
    seen = assess(replace(FINE, by_weight={5_000: replace(epoch, stable=lost)}), DEFAULT_POLICY)
    assert (found(seen, "latency").log_e_worse or 0.0) < log(3)
