"""What is said about a rollout follows from its counts, and claims no more than they show."""

from dataclasses import replace
from math import exp, log

import pytest
from domain.counts import arm
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import Policy
from app.domain.evidence.evidence import EpochCounts, Evidence
from app.domain.evidence.tally import Tally
from app.domain.guardrails.assess import assess
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.reports.explanation import Explanation, explain, explain_pairs

V1, V2 = VersionName("v1"), VersionName("v2")
ERRORS_ONLY = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"),))


def evidence(by_weight: dict[int, EpochCounts]) -> Evidence:
    return replace(Evidence.begin(V1, V2, slow_limits(ERRORS_ONLY), Tally(), 1_800_000_000), by_weight=by_weight)


# The worked example of the methods: a ramp of 5, 25 and 50 %.
RAMP = {
    500: EpochCounts(arm(200, 4), arm(3_800, 35)),
    2_500: EpochCounts(arm(500, 11), arm(1_500, 16)),
    5_000: EpochCounts(arm(2_490, 52), arm(2_500, 24)),
}


def explained(by_weight: dict[int, EpochCounts], policy: Policy = ERRORS_ONLY) -> Explanation:
    given = evidence(by_weight)
    return explain(given, policy, assess(given, policy))


def test_the_worked_example_comes_out_as_it_is_told() -> None:
    said = explained(RAMP)
    assert said.sentence == "v2 is proven worse than v1."
    assert exp(said.log_e) == pytest.approx(305, rel=0.01)
    assert said.p == pytest.approx(0.0033, rel=0.02)
    assert said.p_means == "anytime-valid p = 1/E = 0.0033, not the probability that v2 is bad"
    (errors,) = said.certain
    assert errors.least_ratio == pytest.approx(1.022, abs=0.001)
    assert errors.ratio_confidence == pytest.approx(0.99)
    assert (errors.canary_rate, errors.stable_rate) == pytest.approx((0.0210, 0.0097), abs=1e-4)
    assert errors.sentence == (
        "errors: 2.10 % for v2, 0.97 % for v1 at the same weights; "
        "at least 1.02 times v1's, with 99 % confidence at any time"
    )


def test_rates_stand_by_weight_and_are_never_pooled() -> None:
    weights = explained(RAMP).weights
    assert [each.weight_bp for each in weights] == [500, 2_500, 5_000]
    assert [each.canary_rate for each in weights] == [4 / 200, 11 / 500, 52 / 2_490]
    assert [each.stable_rate for each in weights] == [35 / 3_800, 16 / 1_500, 24 / 2_500]


@pytest.mark.parametrize("errors", range(0, 60, 4))
def test_the_bound_lies_above_one_exactly_when_the_guardrail_turns_back(errors: int) -> None:
    said = explained({5_000: EpochCounts(arm(1_000, errors), arm(1_000, 10))})
    (certain,) = said.certain
    assert ((certain.least_ratio or 0.0) > 1.0) == (said.log_e >= log(100.0))


def test_a_guardrail_that_shares_the_alarm_claims_less() -> None:
    alone, shared = explained(RAMP).certain[0], explained(RAMP, DEFAULT_POLICY).certain[0]
    assert alone.ratio_confidence == shared.ratio_confidence == 0.99
    assert (alone.least_ratio or 0.0) > (shared.least_ratio or 0.0) > 0.0


def test_a_dry_run_is_no_certainty() -> None:
    policy = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"), guardrail("timeouts", dry_run=True)))
    assert [certain.metric for certain in explained(RAMP, policy).certain] == ["errors"]


def test_of_counts_that_cannot_be_trusted_nothing_is_certain() -> None:
    said = explained({5_000: EpochCounts(arm(10, 5), arm(20_000, 10))})
    assert said.sentence == "The counts of v2 and v1 cannot be trusted: nothing follows from them."
    assert said.certain == ()
    assert "not known yet" in said.excess_sentence


arms = st.integers(0, 2_000).flatmap(lambda answers: st.integers(0, answers).map(lambda errors: arm(answers, errors)))


@given(st.dictionaries(st.integers(0, 10_000), st.builds(EpochCounts, arms, arms), max_size=6))
def test_whatever_was_counted_is_explained(by_weight: dict[int, EpochCounts]) -> None:
    said = explained(by_weight)
    assert 0.0 <= said.p <= 1.0
    assert 0.0 <= said.excess_at_most <= 1.0
    assert all(0 < each.weight_bp < 10_000 for each in said.weights)
    assert all(each.least_ratio is None or each.least_ratio > 0.0 for each in said.certain)


def test_before_any_answer_nothing_is_certain() -> None:
    said = explained({})
    assert (said.weights, said.certain, said.p) == ((), (), 1.0)
    assert said.sentence == "v2 has given no answers yet."
    assert "not known yet" in said.excess_sentence


def test_without_a_bad_answer_nothing_is_said_of_the_ratio() -> None:
    (errors,) = explained({5_000: EpochCounts(arm(100, 0), arm(100, 0))}).certain
    assert errors.least_ratio is None
    assert "nothing is excluded yet" in errors.sentence


def test_what_is_proven_harmless_says_how_much_worse_it_can_be() -> None:
    said = explained({5_000: EpochCounts(arm(20_000, 200), arm(20_000, 200))})
    assert said.sentence == "v2 is proven not worse than v1 by more than its margins."
    assert said.excess_at_most < 0.01
    assert said.excess_sentence.endswith("with 95 % confidence at any time")


def test_evidence_for_the_canary_is_no_p_above_one() -> None:
    assert explained({5_000: EpochCounts(arm(1_000, 0), arm(1_000, 30))}).p == 1.0


@pytest.mark.parametrize(
    ("mirror_only", "primary_only", "said"),
    [
        (0, 0, "nothing says that it fails more often"),
        (5, 5, "nothing says that it fails more often"),
        (14, 3, "it looks as if it failed more often, which is not proven"),
        (40, 2, "it is proven to fail more often"),
    ],
)
def test_the_pairs_of_a_mirror_are_judged_by_those_in_which_one_failed(
    mirror_only: int, primary_only: int, said: str
) -> None:
    paired = explain_pairs("v3", "v1", 1_000, mirror_only, primary_only, DEFAULT_POLICY)
    assert paired.sentence == (
        f"Of 1,000 pairs {mirror_only} failed for v3 alone and {primary_only} for v1 alone: {said}."
    )
