"""Findings and verdicts: what each guardrail says of counts that anyone can check by hand."""

import re
from dataclasses import replace
from math import exp, isfinite, log

import pytest
from domain.counts import arm, ended, evidence, found
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.evidence.tally import Tally
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import shares
from app.domain.reports.outlook import outlook

ERRORS_ONLY = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"),))


# The ramp of docs/statistics.md, "An example".
EXAMPLE = evidence(
    {
        500: (arm(200, 4), arm(3_800, 35)),
        2_500: (arm(500, 11), arm(1_500, 16)),
        5_000: (arm(2_490, 52), arm(2_500, 24)),
    }
)


def test_the_worked_example_is_turned_back_with_the_bound_that_its_own_test_gives() -> None:
    seen = assess(EXAMPLE, ERRORS_ONLY)
    errors = found(seen, "errors")
    assert seen.verdict is Verdict.REGRESSED
    assert exp(seen.log_e) == pytest.approx(341, abs=0.5)
    assert errors.numbers["canary_rate"] == pytest.approx(0.0210, abs=5e-5)
    assert errors.numbers["stable_rate"] == pytest.approx(0.0097, abs=5e-5)
    assert errors.numbers["least_ratio"] == pytest.approx(1.022, abs=0.001)
    assert seen.extra_bad == pytest.approx(36, abs=0.5)
    assert errors.sentence == (
        "Error rate 2.10 % for v2, 0.97 % for v1 at the same weights: proven worse, "
        "at least 1.02 times as often with 99 % confidence at any time."
    )


def test_the_same_counts_weigh_less_when_other_metrics_share_the_alarm() -> None:
    assert shares(DEFAULT_POLICY) == pytest.approx(
        {"errors": 0.30 / 0.65, "timeouts": 0.10 / 0.65, "latency": 0.25 / 0.65}
    )
    alone, among = assess(EXAMPLE, ERRORS_ONLY), assess(EXAMPLE, DEFAULT_POLICY)
    assert among.log_e < alone.log_e
    assert str(among.trigger) == "errors"


def test_equal_arms_are_proven_not_worse_and_the_bound_lies_inside_the_margin() -> None:
    seen = assess(evidence({5_000: (arm(5_000, 50), arm(5_000, 50))}), ERRORS_ONLY)
    assert seen.verdict is Verdict.HEALTHY
    assert 0.0 < found(seen, "errors").numbers["excess_at_most"] < 0.01
    assert "proven not worse" in found(seen, "errors").sentence


def test_timeouts_count_against_the_proof_of_no_harm() -> None:
    seen = assess(evidence({5_000: (arm(5_000, 50, 60), arm(5_000, 50))}), ERRORS_ONLY)
    assert seen.verdict is not Verdict.HEALTHY


def test_timeouts_alone_turn_back() -> None:
    seen = assess(evidence({5_000: (arm(5_000, 50, 60), arm(5_000, 50))}), DEFAULT_POLICY)
    assert (seen.verdict, str(seen.trigger)) == (Verdict.REGRESSED, "timeouts")


def test_no_latency_thresholds_means_no_promotion() -> None:
    young = evidence({5_000: (arm(5_000, 50), arm(5_000, 50))}, history=Tally())
    seen = assess(young, DEFAULT_POLICY)
    assert found(seen, "latency").verdict is Verdict.INSUFFICIENT_DATA
    assert found(seen, "latency").log_e_worse is None
    assert seen.verdict is Verdict.INCONCLUSIVE_HEALTHY


def test_a_slow_canary_is_turned_back_and_an_equally_fast_one_promoted() -> None:
    slow = assess(evidence({5_000: (arm(5_000, 50, slow=900), arm(5_000, 50, slow=250))}), DEFAULT_POLICY)
    assert (slow.verdict, str(slow.trigger)) == (Verdict.REGRESSED, "latency")
    equal = assess(evidence({5_000: (arm(5_000, 50, slow=60), arm(5_000, 50, slow=250))}), DEFAULT_POLICY)
    assert equal.verdict is Verdict.HEALTHY
    sentence = found(slow, "latency").sentence
    assert re.search(r"^18\.0 % of v2's answers took over [\d.]+ ms, 5\.00 % of v1's over [\d.]+ ms", sentence)


def test_a_split_off_the_coin_is_invalid() -> None:
    seen = assess(evidence({5_000: (arm(5_600, 56), arm(5_000, 50))}), ERRORS_ONLY)
    assert seen.verdict is Verdict.INVALID
    assert "cannot explain" in found(seen, "split").sentence


def test_answers_that_one_arm_never_gave_are_invalid_too() -> None:
    lost = replace(arm(4_000, 40), drawn=5_000)
    assert assess(evidence({5_000: (lost, arm(5_000, 50))}), ERRORS_ONLY).verdict is Verdict.INVALID


def test_a_canary_whose_clients_all_leave_is_never_proven_good() -> None:
    silent = ended(5_000, 5_000, 0)
    seen = assess(evidence({5_000: (silent, arm(5_000, 50))}), ERRORS_ONLY)
    assert seen.verdict is Verdict.NO_EVENTS
    assert seen.excess_bound == 1.0


def test_a_canary_whose_clients_nearly_all_leave_is_not_proven_by_the_few_who_stay() -> None:
    hanging = ended(5_000, 5_000, 50)
    by_weight = {1: (arm(0), arm(10)), 500: (hanging, arm(95_000, 950))}
    seen = assess(replace(evidence(by_weight), error_reference=0.001), ERRORS_ONLY)
    assert seen.verdict is not Verdict.HEALTHY
    assert seen.excess_bound > 0.5


def test_what_never_came_from_both_arms_alike_is_held_against_neither() -> None:
    canary, stable = (ended(5_000, 5_000, 4_500, bad) for bad in (45, 45))
    seen = assess(evidence({5_000: (canary, stable)}), ERRORS_ONLY)
    assert seen.verdict is Verdict.HEALTHY
    assert seen.log_e < 0.0


def test_a_coin_that_is_off_is_no_regression() -> None:
    # A tenth of the canary's draws got lost; its answers are as good as stable's.
    seen = assess(evidence({5_000: (arm(4_500, 45, slow=225), arm(5_500, 55, slow=275))}), DEFAULT_POLICY)
    assert seen.verdict is Verdict.INVALID
    assert Verdict.REGRESSED not in {found(seen, each.metric).verdict for each in EVERY_MODEL}
    latency = found(seen, "latency")
    assert max(latency.log_e_worse or 0.0, latency.log_e_not_worse or 0.0) <= 0.0


def test_nothing_is_neither_good_nor_bad_news() -> None:
    seen = assess(evidence({}), DEFAULT_POLICY)
    assert (seen.verdict, seen.excess_bound) == (Verdict.NO_EVENTS, 1.0)
    assert seen.log_e == pytest.approx(0.0)
    ahead = outlook(evidence({}), DEFAULT_POLICY, seen)
    assert (ahead.eta_s, ahead.smallest_effect) == (None, None)


def test_few_answers_are_called_few() -> None:
    assert assess(evidence({100: (arm(20), arm(1_980, 20))}), DEFAULT_POLICY).verdict is Verdict.INSUFFICIENT_DATA


def test_suspicion_has_its_own_verdict() -> None:
    seen = assess(evidence({100: (arm(5, 1), arm(500))}), ERRORS_ONLY)
    assert log(10) < seen.log_e < log(100)
    assert seen.verdict is Verdict.INCONCLUSIVE_WORSE


def test_epochs_without_a_coin_are_no_evidence() -> None:
    nobody = evidence({0: (arm(0), arm(9_000, 900)), 10_000: (arm(9_000, 9_000), arm(0))})
    assert assess(nobody, DEFAULT_POLICY).log_e == pytest.approx(0.0)


def test_pooled_rates_that_differ_only_by_the_mix_of_weights_are_no_difference() -> None:
    ramp = evidence({500: (arm(500, 5), arm(9_500, 95)), 5_000: (arm(5_000, 250), arm(5_000, 250))})
    numbers = found(assess(ramp, ERRORS_ONLY), "errors").numbers
    assert numbers["canary_rate"] == pytest.approx(numbers["stable_rate"])
    assert numbers["extra"] == pytest.approx(0.0)


def test_the_forecast_tells_a_hopeless_rollout_from_a_quick_one() -> None:
    equal, worse = evidence({5_000: (arm(500, 5), arm(500, 5))}), evidence({5_000: (arm(500, 10), arm(500, 5))})
    little_time = replace(ERRORS_ONLY, deadline_s=200.0)
    good, bad, short = (
        outlook(counts, policy, assess(counts, policy))
        for counts, policy in ((equal, ERRORS_ONLY), (worse, ERRORS_ONLY), (equal, little_time))
    )
    assert good.eta_s is not None
    assert bad.eta_s is not None
    assert 100 < good.eta_s < 1_500
    assert good.smallest_effect is not None
    assert short.smallest_effect is not None
    assert short.smallest_effect > good.smallest_effect


counts = st.integers(0, 3_000)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from([1, 100, 5_000]), st.tuples(*[counts] * 6), max_size=3))
def test_every_finding_of_any_counts_is_a_sentence_and_every_number_finite(
    drawn: dict[int, tuple[int, int, int, int, int, int]],
) -> None:
    by_weight = {
        bp: (arm(a + b + c, a, b, slow=min(a + b, c)), arm(d + e + f, d, e, slow=min(d, e)))
        for bp, (a, b, c, d, e, f) in drawn.items()
    }
    seen = assess(evidence(by_weight), DEFAULT_POLICY)
    for finding in seen.findings:
        assert re.fullmatch(r"[A-Z0-9v][^\n]*\.", finding.sentence)
        assert "nan" not in finding.sentence
        assert "inf" not in finding.sentence
    assert 0.0 <= seen.excess_bound <= 1.0
    assert isfinite(seen.log_e)
