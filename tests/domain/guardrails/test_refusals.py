"""Refusals: requests that only the canary turns away, judged as errors are, and by what was usual for them."""

from dataclasses import replace

import pytest
from domain.counts import START, found

from app.domain.catalog.models import Model, ModelName, Observation, VersionName
from app.domain.catalog.policy import OnRegression, Policy
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.tally import Horizon, Outcome, Tally
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import (
    DEFAULT_POLICY,
    EVERY_MODEL,
    check_policy,
    default_guardrails,
    guardrail,
    with_exposure_bounded,
)
from app.domain.guardrails.registry import shares
from app.domain.reports.explanation import explain
from app.domain.reports.outlook import outlook
from app.errors import InvalidInput

REFUSALS = guardrail("refusals")
ACTING = replace(REFUSALS, on_regression=OnRegression.ROLLBACK)
ERRORS = EVERY_MODEL[0]
WARNED, ACTED = (Policy(guardrails=(ERRORS, each)) for each in (REFUSALS, ACTING))


def arm(answers: int, refused: int, errors: int = 0) -> ArmCounts:
    fine = answers - refused - errors
    return ArmCounts(
        answers, {Outcome.OK: fine, Outcome.CLIENT_ERROR: refused, Outcome.UPSTREAM_ERROR: errors}, answers, (0,) * 8
    )


def refusing(canary: int, stable: int, usual: float = 0.05, answers: int = 20_000) -> Evidence:
    """Both arms at half of the traffic, so many of their answers refused; the share that was usual before."""
    before = {Outcome.OK: round(10_000 * (1.0 - usual)), Outcome.CLIENT_ERROR: round(10_000 * usual)}
    begun = Evidence.begin(
        VersionName("v1"), VersionName("v2"), slow_limits(WARNED), Tally(10_000, before, 0, {400: 10_000}), START
    )
    epochs = {5_000: EpochCounts(arm(answers, canary), arm(answers, stable))}
    return replace(begun, by_weight=epochs, read_through=dict.fromkeys(Horizon, START + 99))


def test_a_canary_that_refuses_more_is_warned_of_and_nothing_follows() -> None:
    seen = assess(refusing(2_000, 1_000), WARNED)
    told = found(seen, "refusals")
    assert told.verdict is Verdict.REGRESSED
    assert told.sentence.startswith(
        "Refusal rate 10.0 % for v2, 5.00 % for v1 at the same weights: proven worse, at least 1."
    )
    assert told.sentence.endswith("; a warning, nothing follows.")
    assert found(seen, "errors").verdict is Verdict.HEALTHY
    assert (seen.verdict, seen.hold, seen.unverified) == (Verdict.HEALTHY, None, ("refusals",))


def test_who_says_rollback_gets_it_and_is_told_how_many_were_refused() -> None:
    seen = assess(refusing(2_000, 1_000), ACTED)
    assert (seen.verdict, str(seen.trigger)) == (Verdict.REGRESSED, "refusals")
    assert seen.heaviest.numbers["extra"] == 1_000.0


def test_refusals_alike_are_proven_not_worse_and_promotion_waits_for_it_only_if_they_act() -> None:
    alike = refusing(1_000, 1_000)
    told = found(assess(alike, ACTED), "refusals")
    assert told.verdict is Verdict.HEALTHY
    assert "more of its answers are refusals with 95 % confidence at any time" in told.sentence
    few = replace(alike, by_weight={5_000: EpochCounts(arm(2_000, 100), arm(2_000, 100))})
    assert found(assess(few, ACTED), "refusals").verdict is Verdict.INCONCLUSIVE_HEALTHY
    wants = [outlook(few, policy, assess(few, policy)).wants for policy in (ACTED, WARNED)]
    assert [any("does not refuse more than v1" in clause for clause in each) for each in wants] == [True, False]


def test_the_margin_is_a_quarter_of_what_was_usual_and_a_point_at_least() -> None:
    # A quarter of 20 % is five points: two more of them prove nothing, and are let through.
    assert found(assess(refusing(4_200, 4_000, usual=0.2), ACTED), "refusals").verdict is Verdict.HEALTHY
    assert found(assess(refusing(1_200, 1_000, usual=0.01), ACTED), "refusals").verdict is not Verdict.HEALTHY


def test_a_refusal_is_no_error_and_an_error_no_refusal() -> None:
    erring = replace(refusing(0, 0), by_weight={5_000: EpochCounts(arm(20_000, 0, 900), arm(20_000, 0, 300))})
    seen = assess(erring, ACTED)
    assert found(seen, "errors").verdict is Verdict.REGRESSED
    told = found(seen, "refusals")
    assert (told.verdict, told.numbers["canary_rate"]) == (Verdict.HEALTHY, 0.0)


def test_an_explanation_says_what_is_certain_of_it() -> None:
    counts = refusing(2_000, 1_000)
    _, certain = explain(counts, ACTED, assess(counts, ACTED)).certain
    assert certain.metric == "refusals"
    assert certain.sentence.startswith("refusals: 10.0 % for v2, 5.00 % for v1 at the same weights")
    assert (certain.least_ratio or 0.0) > 1.0


def test_it_has_a_share_only_where_it_turns_back_and_is_in_nobodys_defaults() -> None:
    assert shares(replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, REFUSALS))) == shares(DEFAULT_POLICY)
    assert shares(ACTED) == pytest.approx({"errors": 0.75, "refusals": 0.25})
    observed = Model(ModelName("fraud"), observation=Observation())
    assert "refusals" not in {each.metric for each in default_guardrails(observed)}
    assert [each.metric for each in with_exposure_bounded((REFUSALS,))] == ["refusals", "errors"]


@pytest.mark.parametrize(("numbers", "field"), [({"floor": 0.0}, "floor"), ({"quantile": 0.9}, "quantile")])
def test_a_number_that_cannot_be_is_refused_by_name(numbers: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_policy(Policy(guardrails=(*EVERY_MODEL, guardrail("refusals", **numbers))))
    assert refused.value.field == f"/policy/guardrails/3/{field}"
