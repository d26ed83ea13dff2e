"""Validity: flawed answers turn back, one output for everything does too, and promotion needs proof of neither."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from domain.counts import HISTORY, START
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import Guardrail, OnRegression
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import ModelEvidence, ObservedEpoch, SpreadEpoch
from app.domain.evidence.observed import Flaw, Observed
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.output_collapse import LEAST_RATIO, Variety, variety
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import judge
from app.domain.stats.eprocess import BETTER, WORSE, Outcomes, log_e_tilt, log_weighted_mean
from app.domain.stats.histogram import Histogram, Spread, histogram_of, order_of

VALID = guardrail("validity")
POLICY = replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, VALID))
Value = float | str | None


def read(n: int, flawed: int = 0, flaw: Flaw = Flaw.SCHEMA) -> Observed:
    return Observed(n, 0, n, flawed, {flaw: flawed} if flawed else {})


def evidence(epochs: dict[int, tuple[Observed, Observed]]) -> Evidence:
    begun = Evidence.begin(VersionName("v1"), VersionName("v2"), slow_limits(POLICY), HISTORY, START)
    return replace(begun, of_model=ModelEvidence(observed={bp: ObservedEpoch(*arms) for bp, arms in epochs.items()}))


def predicting(
    canary: Sequence[Value], stable: Sequence[Value], usual: Sequence[Value], weight_bp: int = 5_000
) -> Evidence:
    found = evidence({weight_bp: (read(len(canary)), read(len(stable)))})
    epoch = SpreadEpoch(*(Spread(histogram_of(values)) for values in (canary, stable)))
    of_model = replace(found.of_model, spreads={weight_bp: epoch}, usual=Spread(histogram_of(usual)))
    return replace(found, of_model=of_model)


def judged(found: Evidence, guardrail: Guardrail = VALID) -> Finding:
    return judge(found, POLICY, guardrail)


def varied(found: Evidence) -> Variety:
    seen = variety(found)
    assert seen is not None
    return seen


def classes(n: int, **shares: float) -> list[Value]:
    return [name for name, share in shares.items() for _ in range(round(n * share))]


USUAL = classes(1_000, late=0.1, early=0.9)


def test_a_canary_whose_answers_are_flawed_is_turned_back_and_the_sentence_says_what_is_wrong() -> None:
    finding = judged(evidence({5_000: (read(2_000, 60), read(2_000, 2))}))
    assert finding.verdict is Verdict.REGRESSED
    assert finding.sentence == (
        "Flawed answers 3.00 % for v2, 0.10 % for v1 at the same weights (60 not as declared): proven worse."
    )
    assert finding.numbers["canary_schema"] == 60


def test_a_canary_that_answers_nothing_but_flaws_is_turned_back_within_a_handful_of_answers() -> None:
    finding = judged(evidence({100: (read(4, 4, Flaw.NONFINITE), read(396))}))
    assert finding.verdict is Verdict.REGRESSED


def test_sound_answers_are_proven_and_few_are_not() -> None:
    assert judged(evidence({5_000: (read(2_000, 2), read(2_000, 2))})).verdict is Verdict.HEALTHY
    assert judged(evidence({5_000: (read(40), read(40))})).verdict is Verdict.INSUFFICIENT_DATA


def test_a_canary_on_the_margin_is_not_proven() -> None:
    finding = judged(evidence({5_000: (read(10_000, 110), read(10_000, 10))}))
    assert finding.log_e_not_worse is not None
    assert finding.log_e_not_worse < 3.0


def test_answers_that_are_read_more_often_of_one_version_prove_nothing_and_missing_ones_are_no_harm() -> None:
    finding = judged(evidence({5_000: (read(1_000, 1), read(2_000, 2))}))
    assert finding.verdict is Verdict.INCONCLUSIVE_HEALTHY
    assert "Answers are read more often of one of v2 and v1 than their weights explain" in finding.sentence


def test_nothing_read_is_no_proof_and_says_why() -> None:
    assert judged(evidence({})).verdict is Verdict.NO_EVENTS
    assert judged(evidence({})).sentence == "Validity is not judged: nothing of v2's answers has been read yet."
    sticky = replace(evidence({}), per_caller=True)
    assert "callers keep their arm" in judged(sticky).sentence


def test_a_flawed_canary_turns_the_whole_rollout_back_with_validity_as_the_trigger() -> None:
    assessment = assess(evidence({5_000: (read(2_000, 200), read(2_000, 2))}), POLICY)
    assert (assessment.verdict, str(assessment.trigger)) == (Verdict.REGRESSED, "validity")


def test_a_guardrail_that_holds_says_so() -> None:
    finding = judged(
        evidence({5_000: (read(2_000, 60), read(2_000, 2))}), replace(VALID, on_regression=OnRegression.HOLD)
    )
    assert finding.sentence.endswith("proven worse; it is held, not turned back.")


def test_a_canary_that_always_says_the_commonest_class_is_turned_back() -> None:
    finding = judged(predicting(["early"] * 3_000, USUAL * 3, USUAL))
    assert finding.verdict is Verdict.REGRESSED
    assert finding.sentence == (
        "v2 is proven to predict hardly anything but early: in 100.0 % of its answers, "
        "90.0 % of v1's at the same weights."
    )


@pytest.mark.parametrize(
    "constant", ["early", "late", "never before", None, 0.0], ids=["commonest", "rare", "new", "missing", "number"]
)
def test_whatever_a_constant_canary_says_it_is_caught(constant: Value) -> None:
    seen = varied(predicting([constant] * 3_000, USUAL * 3, USUAL))
    assert seen.log_e_collapsed > 12.0
    assert seen.log_e_varied < 0.0


def test_an_equal_canary_is_proven_to_vary() -> None:
    seen = varied(predicting(USUAL * 2, USUAL * 2, USUAL))
    assert seen.log_e_collapsed < 0.0
    assert seen.log_e_varied > 3.0
    assert judged(predicting(USUAL * 2, USUAL * 2, USUAL)).verdict is Verdict.HEALTHY


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_canary_that_says_the_rare_class_half_or_twice_as_often_is_no_collapse(factor: float) -> None:
    found = predicting(classes(2_000, late=0.1 * factor, early=1.0 - 0.1 * factor), USUAL * 2, USUAL)
    assert varied(found).log_e_collapsed < 0.0
    assert judged(found).verdict is Verdict.HEALTHY


def test_sound_answers_wait_for_variety_and_the_sentence_says_so() -> None:
    # Enough to prove answers sound, too few to show what is rare.
    usual = classes(1_000, late=0.02, early=0.98)
    finding = judged(predicting(["early"] * 500, usual[:10] + ["early"] * 490, usual))
    assert finding.verdict is Verdict.INCONCLUSIVE_HEALTHY
    assert finding.sentence.endswith("That v2 predicts different things, as v1 does, is not proven yet.")


@pytest.mark.parametrize(
    "usual",
    [["early"] * 1_000, classes(1_000, late=0.004, early=0.996), ["early", "late"] * 99, []],
    ids=["constant", "nearly constant", "too few", "unknown"],
)
def test_where_stable_hardly_varies_or_nobody_knows_nothing_is_said_and_promotion_does_not_wait(
    usual: list[Value],
) -> None:
    found = predicting(["early"] * 2_000, ["early"] * 2_000, usual)
    assert variety(found) is None
    assert judged(found).verdict is Verdict.HEALTHY


def test_numbers_are_told_apart_exactly_while_they_are_few_and_in_tenths_when_they_are_many() -> None:
    rng = np.random.default_rng(1)
    usual = rng.normal(50.0, 10.0, 3_000).tolist()
    same = varied(predicting(rng.normal(50.0, 10.0, 2_000).tolist(), rng.normal(50.0, 10.0, 2_000).tolist(), usual))
    assert same.log_e_collapsed < 0.0
    assert same.log_e_varied > 3.0
    constant = varied(predicting([51.5] * 2_000, rng.normal(50.0, 10.0, 2_000).tolist(), usual))
    assert constant.log_e_collapsed > 12.0
    assert constant.canary_share == 1.0
    assert constant.stable_share < 0.2
    few = varied(predicting([1.0] * 2_000, [0.0, 1.0] * 1_000, [0.0, 1.0] * 500))
    assert (few.output, few.log_e_collapsed > 12.0) == ("1", True)


def test_another_scale_is_no_collapse_and_promotion_does_not_wait_for_it() -> None:
    rng = np.random.default_rng(1)
    usual, stable = rng.uniform(0.0, 1.0, 3_000).tolist(), rng.uniform(0.0, 1.0, 2_000).tolist()
    seen = varied(predicting((rng.uniform(0.0, 100.0, 2_000) + 100.0).tolist(), stable, usual))
    assert seen.log_e_collapsed <= 0.0
    assert seen.log_e_varied > 3.0


def test_predictions_that_come_more_often_of_one_version_are_no_collapse() -> None:
    seen = varied(predicting(USUAL[:50] + USUAL[-50:], USUAL * 3, USUAL))
    assert seen.log_e_collapsed <= 0.0


def test_callers_that_keep_their_arm_are_no_evidence_of_variety() -> None:
    assert variety(replace(predicting(USUAL, USUAL, USUAL), per_caller=True)) is None


values = st.one_of(st.none(), st.just(nan), st.sampled_from(["a", "b", "c"]), st.floats(allow_nan=False))


@given(st.lists(values, max_size=80), st.lists(values, max_size=80), st.integers(1, 60))
def test_no_bin_whatever_its_width_lets_more_exchanges_be_than_there_are(
    canary: list[Value], stable: list[Value], coarser: int
) -> None:
    usual = [0.0] * 120 + [1.0] * 80 + ["a"] * 50
    found = predicting(canary, stable, usual)
    coarse = Histogram(coarser, {-1: 3, 0: 4, 1: 5}) + histogram_of(canary)
    epoch = replace(found.of_model.spreads[5_000], canary=Spread(coarse))
    found = replace(found, of_model=replace(found.of_model, spreads={5_000: epoch}))
    seen = varied(found)
    # A count below zero would have been refused with ValueError.
    assert not isnan(seen.log_e_varied)
    assert 0.0 <= seen.canary_share <= 1.0


def test_a_coarse_bin_helps_the_canary_where_it_is_accused_and_not_where_it_is_to_be_proven() -> None:
    usual: list[Value] = [0.0, 1.0, 2.0] * 100
    exact = predicting([1.0] * 300, [0.0, 1.0, 2.0] * 100, usual)
    assert varied(exact).log_e_collapsed > 3.0
    # One bin over everything positive: it may be 1.0 or anything else.
    blurred = Histogram(62, {order_of(1.0) >> 62: 300})
    epoch = replace(exact.of_model.spreads[5_000], canary=Spread(blurred))
    seen = varied(replace(exact, of_model=replace(exact.of_model, spreads={5_000: epoch})))
    assert seen.log_e_collapsed <= varied(exact).log_e_collapsed
    assert seen.log_e_varied < 3.0


def test_before_stable_was_read_at_the_same_weights_the_sentence_says_so() -> None:
    assert judged(evidence({5_000: (read(2), read(0))})).sentence == (
        "Flawed answers: v1 has given none to compare with at the same weights yet."
    )


def test_a_suspicion_of_sameness_is_told_as_one_and_counts_answers_too_many() -> None:
    usual: list[Value] = ["early", "late"] * 500
    finding = judged(predicting(["early"] * 120, usual[:120], usual))
    assert finding.verdict is Verdict.INCONCLUSIVE_WORSE
    assert finding.sentence.startswith("v2 predicts, as it seems, only early: in 100.0 % of its answers, ")
    assert finding.numbers["extra"] == pytest.approx(60.0)


def test_the_evidence_is_that_of_the_tilts_about_a_tenth_averaged_for_harm_and_the_least_for_the_proof() -> None:
    canary, stable = {"early": 95, "late": 4, "never": 1}, {"early": 88, "late": 12}
    said = [[name for name, n in arm.items() for _ in range(n)] for arm in (canary, stable)]
    found = predicting(said[0], said[1], USUAL)
    # Everything else, which is "never" here, is an output too.
    shown = [{"early": 95, "late": 4, "else": 1}, {"early": 88, "late": 12, "else": 0}]
    others = [[100 - arm[output] for arm in shown] for output in ("early", "late", "else")]
    harm = [log_e_tilt([Outcomes(0.5, *both)], LEAST_RATIO, BETTER) for both in others]
    proof = [log_e_tilt([Outcomes(0.5, *both)], LEAST_RATIO, WORSE) for both in others]
    seen = varied(found)
    assert seen.log_e_collapsed == pytest.approx(log_weighted_mean((1 / 3, each) for each in harm))
    assert seen.log_e_varied == pytest.approx(min(proof))
