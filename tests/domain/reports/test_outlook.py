"""What would change a decision, and what the traffic cannot show: the counts said are the counts needed."""

import re
from dataclasses import replace

import pytest
from domain.counts import START, arm, evidence
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import OnRegression, Policy
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.tally import Outcome, Tally
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.reports.outlook import Outlook, advice, bad_answers_to_turn_back, outlook

ERRORS_ONLY = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"),))


def ahead(counts: Evidence, policy: Policy) -> Outlook:
    return outlook(counts, policy, assess(counts, policy))


def with_more_bad(counts: Evidence, more: int) -> Evidence:
    """So many more bad answers of the canary at its highest weight."""
    weight = max(counts.by_weight)
    epoch = counts.by_weight[weight]
    canary = epoch.canary
    worse = canary + ArmCounts(more, {Outcome.UPSTREAM_ERROR: more})
    return replace(counts, by_weight={**counts.by_weight, weight: EpochCounts(worse, epoch.stable)})


small = st.integers(0, 30)


@settings(max_examples=60)
@given(small, small, small, small, st.sampled_from([ERRORS_ONLY, DEFAULT_POLICY]))
def test_so_many_more_bad_answers_turn_it_back_and_one_fewer_does_not(
    low: int, low_stable: int, high: int, high_stable: int, policy: Policy
) -> None:
    counts = evidence(
        {200: (arm(20 + low, low), arm(980, low_stable)), 2_000: (arm(200, high), arm(800, high_stable))},
        policy=policy,
    )
    seen = assess(counts, policy)
    more = bad_answers_to_turn_back(counts, policy, seen)
    if seen.verdict is Verdict.REGRESSED:
        assert outlook(counts, policy, seen).wants == ()
    elif more is not None:
        assert assess(with_more_bad(counts, more), policy).log_e >= 4.605
        assert assess(with_more_bad(counts, more - 1), policy).log_e < 4.606


def test_a_rollout_that_nobody_would_turn_back_soon_says_nothing_of_it() -> None:
    calm = evidence({5_000: (arm(50_000, 500), arm(50_000, 900))})
    assert bad_answers_to_turn_back(calm, ERRORS_ONLY, assess(calm, ERRORS_ONLY)) is None
    only_hold = replace(DEFAULT_POLICY, guardrails=(guardrail("errors", on_regression=OnRegression.HOLD),))
    young = evidence({100: (arm(20), arm(980))})
    assert bad_answers_to_turn_back(young, only_hold, assess(young, only_hold)) is None


def test_promotion_says_how_many_answers_it_still_waits_for_and_they_are_about_enough() -> None:
    counts = evidence({5_000: (arm(500, 5), arm(500, 5))})
    said = next(want for want in ahead(counts, ERRORS_ONLY).wants if "more answers of both" in want)
    more = int(re.findall(r"[\d,]+", said)[0].replace(",", "")) // 2
    for share, verdict in ((1.5, Verdict.HEALTHY), (0.5, Verdict.INCONCLUSIVE_HEALTHY)):
        n = 500 + int(share * more)
        later = evidence({5_000: (arm(n, n // 100), arm(n, n // 100))})
        assert assess(later, ERRORS_ONLY).verdict is verdict, (share, more)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (evidence({}), "answers of v2: none came yet"),
        (evidence({5_000: (arm(500, 15), arm(500, 5))}), "fewer bad answers of v2: so far they are at least 1 point"),
        (evidence({5_000: (arm(500, 5, slow=20), arm(500, 5, slow=25))}), "proof that v2 is not slower than v1: evi"),
        (evidence({5_000: (arm(500, 5), arm(500, 5))}, history=Tally()), "latency can be proven once v1 has given"),
        (evidence({100: (arm(5, 1), arm(500))}), "the evidence against it must fall below 3; it is "),
        (evidence({100: (arm(20), arm(1_980, 20))}), "4 more bad answers of v2 turn it back, if v1 gives none"),
    ],
)
def test_what_is_missing_is_said(counts: Evidence, said: str) -> None:
    wants = ahead(counts, DEFAULT_POLICY).wants
    assert any(want.startswith(said) for want in wants), wants


def begun(per_hour: float, policy: Policy, bad_share: float = 0.0) -> Evidence:
    """Evidence before the first exchange, after an hour of this traffic."""
    exchanges = round(per_hour)
    bad = round(exchanges * bad_share)
    reference = Tally(exchanges, {Outcome.OK: exchanges - bad, Outcome.UPSTREAM_ERROR: bad})
    return Evidence.begin(
        VersionName("v1"), VersionName("v2"), slow_limits(policy), reference, START, reference_s=3_600.0
    )


def test_ten_requests_an_hour_are_told_what_they_cannot_show() -> None:
    # One in a hundred answers is bad, as in the table of smallest effects in docs/statistics.md.
    slow = replace(begun(10, ERRORS_ONLY), error_reference=0.01)
    effect, proof = advice(slow, ERRORS_ONLY)
    assert effect == (
        "At 10 requests an hour this policy cannot verify less than 2.4 points in 7 days: "
        "mirror, wait longer or widen the margin."
    )
    assert proof == (
        "Proof that it is less than 1 point worse takes about 24.9 days at 10 requests an hour; the deadline is 7 days."
    )


def test_a_low_weight_is_told_to_be_raised() -> None:
    low = replace(ERRORS_ONLY, max_weight_bp=500, deadline_s=86_400.0)
    assert "mirror, raise the weight or widen the margin." in advice(begun(10, low), low)[0]


def test_traffic_that_cannot_show_anything_is_told_so() -> None:
    hasty = replace(ERRORS_ONLY, deadline_s=60.0)
    assert advice(begun(10, hasty), hasty)[0].startswith(
        "At 10 requests an hour this policy cannot tell a version that always fails in 1 minute: "
    )
    assert advice(begun(0, ERRORS_ONLY), ERRORS_ONLY) == (
        "Nothing was asked of the model of late: without traffic nothing is verified.",
    )


def test_enough_traffic_needs_no_advice_and_unknown_traffic_gets_none() -> None:
    assert advice(begun(360_000, ERRORS_ONLY, 0.01), ERRORS_ONLY) == ()
    unknown = Evidence.begin(VersionName("v1"), VersionName("v2"), slow_limits(ERRORS_ONLY), Tally(), START)
    assert advice(unknown, ERRORS_ONLY) == ()
