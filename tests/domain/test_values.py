"""Catalog names, routes, tallies and policies: what is legal and what adds up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.models import ModelName, VersionName, model_name, version_name
from app.domain.catalog.policy import OnRegression, Policy
from app.domain.catalog.routing import FULL_BP, Route, check_weights, draw, sticky_place
from app.domain.evidence.tally import Outcome, Tally
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, check_policy, guardrail
from app.errors import InvalidInput

STABLE, CANARY, STANDBY = VersionName("v1"), VersionName("v2"), VersionName("v0")
ERRORS, TIMEOUTS, LATENCY = EVERY_MODEL
tallies = st.builds(
    Tally,
    st.integers(0, 10**9),
    st.dictionaries(st.sampled_from(Outcome), st.integers(1, 10**9)),
    st.integers(0, 10**6),
    st.dictionaries(st.integers(0, 1_000), st.integers(1, 10**9), max_size=8),
)
points = st.floats(0.0, 1.0, exclude_max=True)
weights_bp = st.integers(0, FULL_BP)


def route(canary_bp: int) -> Route:
    return Route(ModelName("fraud"), 1, STABLE, {STABLE: FULL_BP - canary_bp, CANARY: canary_bp})


@given(tallies, tallies, tallies)
def test_tallies_add_in_any_order_and_grouping(one: Tally, two: Tally, three: Tally) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one


@given(tallies)
def test_an_empty_tally_changes_nothing(tally: Tally) -> None:
    assert tally + Tally() == Tally() + tally == tally


@given(tallies, tallies)
def test_what_is_read_from_tallies_adds_too(one: Tally, two: Tally) -> None:
    assert (one + two).errors == one.errors + two.errors
    assert (one + two).timeouts == one.timeouts + two.timeouts
    assert (one + two).judged == one.judged + two.judged


def test_a_client_that_leaves_is_never_held_against_the_version() -> None:
    tally = Tally(3, {Outcome.CANCELLED: 3})
    assert (tally.judged, tally.errors, tally.timeouts) == (0, 0, 0)


@given(point=points, lower=weights_bp, higher=weights_bp)
def test_raising_the_weight_never_moves_a_caller_back_to_stable(point: float, lower: int, higher: int) -> None:
    lower, higher = sorted((lower, higher))
    if draw(route(lower), point) == CANARY:
        assert draw(route(higher), point) == CANARY


@given(point=points, canary_bp=weights_bp)
def test_a_version_without_weight_is_never_drawn(point: float, canary_bp: int) -> None:
    drawn = draw(route(canary_bp), point)
    assert route(canary_bp).weights_bp[drawn] > 0


@given(st.integers(0, FULL_BP), st.integers(0, FULL_BP))
def test_the_drawn_shares_are_the_weights(first: int, second: int) -> None:
    low, high = sorted((first, second))
    three = Route(ModelName("fraud"), 1, STABLE, {STANDBY: low, CANARY: high - low, STABLE: FULL_BP - high})
    drawn = [draw(three, (bp + 0.5) / FULL_BP) for bp in range(0, FULL_BP, 97)]
    for version, weight_bp in three.weights_bp.items():
        assert abs(drawn.count(version) / len(drawn) - weight_bp / FULL_BP) < 0.02


@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(min_size=16, max_size=64))
def test_a_callers_point_depends_on_key_and_salt_alone(key: bytes, other: bytes, salt: bytes) -> None:
    assert 0.0 <= sticky_place(key, salt).point < 1.0
    assert (sticky_place(key, salt) == sticky_place(other, salt)) is (key == other)


@given(st.dictionaries(st.sampled_from([STABLE, CANARY, STANDBY]), st.integers(-5, FULL_BP + 5), min_size=1))
def test_only_distributions_are_weights(weights: dict[VersionName, int]) -> None:
    legal = sum(weights.values()) == FULL_BP and all(0 <= weight <= FULL_BP for weight in weights.values())
    if legal:
        assert check_weights(weights) is weights
    else:
        with pytest.raises(InvalidInput, match="/weights_bp"):
            check_weights(weights)


@pytest.mark.parametrize("text", ["", "-v1", "a/b", "a b", "x" * 64, "ü", "v1\n"])
def test_a_name_is_one_plain_path_segment(text: str) -> None:
    with pytest.raises(InvalidInput, match="/name"):
        model_name(text)
    with pytest.raises(InvalidInput, match="/version"):
        version_name(text, "/version")


def test_the_default_policy_is_legal() -> None:
    assert check_policy(DEFAULT_POLICY) == DEFAULT_POLICY


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (replace(DEFAULT_POLICY, alpha_rollback=0.0), "/policy/alpha_rollback"),
        (replace(DEFAULT_POLICY, alpha_promotion=float("nan")), "/policy/alpha_promotion"),
        (replace(DEFAULT_POLICY, max_weight_bp=FULL_BP), "/policy/max_weight_bp"),
        (replace(DEFAULT_POLICY, deadline_s=float("inf")), "/policy/deadline_s"),
        (replace(DEFAULT_POLICY, freeze_at=2.0), "/policy/thaw_below"),
        (replace(DEFAULT_POLICY, guardrails=(LATENCY,)), "/policy/guardrails"),
        (replace(DEFAULT_POLICY, guardrails=(ERRORS, ERRORS)), "/policy/guardrails/1"),
        (replace(DEFAULT_POLICY, guardrails=()), "/policy/guardrails"),
        (replace(DEFAULT_POLICY, guardrails=(replace(ERRORS, dry_run=True),)), "/policy/guardrails"),
        (replace(DEFAULT_POLICY, guardrails=(replace(ERRORS, required=False),)), "/policy/guardrails"),
        (replace(DEFAULT_POLICY, guardrails=(replace(ERRORS, on_regression=OnRegression.WARN),)), "/policy/guardrails"),
        (replace(DEFAULT_POLICY, guardrails=(ERRORS, replace(LATENCY, quantile=1.0))), "/policy/guardrails/1/quantile"),
        (replace(DEFAULT_POLICY, guardrails=(replace(ERRORS, margin=float("nan")),)), "/policy/guardrails/0/margin"),
        (replace(DEFAULT_POLICY, guardrails=(replace(ERRORS, quantile=0.9),)), "/policy/guardrails/0/quantile"),
        (replace(DEFAULT_POLICY, guardrails=(ERRORS, replace(TIMEOUTS, margin=0.5))), "/policy/guardrails/1/margin"),
        (replace(DEFAULT_POLICY, error_ceiling=float("nan")), "/policy/error_ceiling"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_its_field(policy: Policy, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_policy(policy)
    assert refused.value.field == field


def test_a_dry_run_stands_beside_the_live_guardrail_of_its_metric() -> None:
    policy = replace(DEFAULT_POLICY, guardrails=(ERRORS, LATENCY, replace(LATENCY, margin=0.1, dry_run=True)))
    assert check_policy(policy) is policy
    assert policy.live("latency") is LATENCY
    assert policy.live("timeouts") is None


def test_a_number_that_is_not_given_is_the_default_written_out() -> None:
    assert (ERRORS.margin, ERRORS.floor, ERRORS.quantile) == (0.5, 0.01, None)
    assert (TIMEOUTS.margin, TIMEOUTS.floor, TIMEOUTS.quantile) == (None, None, None)
    assert guardrail("latency", margin=0.0) == guardrail("latency", margin=0.0, floor=5.0, quantile=0.95)
