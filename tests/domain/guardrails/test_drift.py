"""Inputs may not differ between the arms, predictions may; and what is compared is cut before looking."""

from dataclasses import replace

import numpy as np
import pytest
from domain.counts import arm, evidence
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import OnRegression
from app.domain.evidence.absorb_observed import absorb_spreads
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import ModelEvidence, SpreadEpoch
from app.domain.evidence.observed import SpreadRow
from app.domain.evidence.tally import TallyKey
from app.domain.guardrails.assess import assess
from app.domain.guardrails.drift import judge_inputs, predictions_differing, standing_out
from app.domain.guardrails.finding import Cause, Verdict
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import judge
from app.domain.stats.categories import categories_of, counted, shared_level
from app.domain.stats.histogram import Spread, histogram_of

DRIFT = guardrail("drift")
POLICY = replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, DRIFT))
values = st.lists(st.one_of(st.floats(allow_nan=True), st.sampled_from(["a", "b"]), st.none()), max_size=80)


def seen(usual: Spread, canary: Spread, stable: Spread, weight_bp: int = 5_000) -> Evidence:
    begun = evidence({5_000: (arm(500, 5), arm(500, 5))})
    return replace(begun, of_model=ModelEvidence(usual=usual, spreads={weight_bp: SpreadEpoch(canary, stable)}))


def inputs(rng: np.random.Generator, n: int, shifted: float = 0.0, features: int = 5) -> Spread:
    columns = rng.normal(size=(features, n))
    columns[0] += shifted
    return Spread(features={f"f{place}": histogram_of(column.tolist()) for place, column in enumerate(columns)})


@given(values, values)
def test_every_value_is_counted_once_at_any_shared_level(
    left: list[float | str | None], right: list[float | str | None]
) -> None:
    reference = histogram_of(np.random.default_rng(1).normal(size=500).tolist() + ["a"] * 20)
    categories = categories_of(reference)
    assert categories is not None
    one, two = histogram_of(left), histogram_of(right)
    level = shared_level(categories, (one, two, one + two))
    together = counted(categories, one + two, level)
    apart = [a + b for a, b in zip(counted(categories, one, level), counted(categories, two, level), strict=True)]
    assert list(together) == apart
    assert sum(together) == len(left) + len(right)


def test_too_small_a_reference_cuts_nothing() -> None:
    assert categories_of(histogram_of([1.0] * 199)) is None


def test_inputs_that_are_alike_are_trusted_and_a_difference_voids_the_comparison() -> None:
    rng = np.random.default_rng(2)
    usual = inputs(rng, 2_000)
    alike = seen(usual, inputs(rng, 3_000), inputs(rng, 3_000))
    finding = judge_inputs(alike)
    assert finding is not None
    assert finding.verdict is Verdict.HEALTHY
    routed = seen(usual, inputs(rng, 3_000, shifted=0.4), inputs(rng, 3_000))
    found = judge_inputs(routed)
    assert found is not None
    assert (found.metric, found.verdict) == (Cause.INPUTS, Verdict.INVALID)
    assert "f0 differs" in found.sentence
    assert [each.name for each in standing_out(routed)] == ["f0"]
    assert assess(routed, POLICY).verdict is Verdict.INVALID


def test_an_input_that_only_one_version_lacks_is_a_difference() -> None:
    rng = np.random.default_rng(3)
    lacking = Spread(features={"f0": histogram_of([None] * 400)})
    found = judge_inputs(seen(inputs(rng, 2_000), lacking, inputs(rng, 400)))
    assert found is not None
    assert found.verdict is Verdict.INVALID


def test_predictions_that_differ_are_told_and_turn_nothing_back_unless_the_policy_says_so() -> None:
    usual, same = (Spread(histogram_of(["yes"] * 300 + ["no"] * 700)) for _ in range(2))
    other = Spread(histogram_of(["yes"] * 900 + ["no"] * 100))
    differing = seen(usual, other, same)
    finding = judge(differing, POLICY, DRIFT)
    assert finding.verdict is Verdict.REGRESSED
    assert finding.numbers["psi"] > 0.2
    undeclared = DEFAULT_POLICY
    assert assess(differing, undeclared).verdict is not Verdict.REGRESSED
    held = replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, replace(DRIFT, on_regression=OnRegression.HOLD)))
    assert assess(differing, held).held_by == "drift"


def test_a_difference_too_small_to_matter_is_no_drift_however_much_is_seen() -> None:
    usual = Spread(histogram_of(["yes"] * 300 + ["no"] * 700))
    canary, stable = (Spread(histogram_of(["yes"] * n + ["no"] * (100_000 - n))) for n in (34_000, 30_000))
    assert judge(seen(usual, canary, stable), POLICY, DRIFT).verdict is Verdict.INCONCLUSIVE_HEALTHY


@pytest.mark.parametrize("per_caller", [False, True])
def test_rows_are_read_once_in_any_order_and_never_of_sticky_models(per_caller: bool) -> None:
    begun = replace(evidence({}), started_s=100, per_caller=per_caller)
    rows = [
        SpreadRow(
            TallyKey(second, ModelName("m"), 1, VersionName(version)), inputs(np.random.default_rng(second), 9), 1
        )
        for second in (90, 100, 110, 120)
        for version in ("v1", "v2")
    ]
    whole = absorb_spreads(begun, rows, {1: 100}, 129)
    cut = begun
    for through in (104, 109, 117, 129):
        cut = absorb_spreads(cut, rows[::-1], {1: 100}, through)
    assert cut == whole
    assert bool(whole.of_model.spreads) is not per_caller
    if not per_caller:
        assert whole.of_model.spreads[100].canary.features["f0"].n == 27


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 2_000), (1_000, 50), (20_000, 20_000)])
def test_the_effect_of_nothing_is_nothing_at_any_number_of_answers(n: int, m: int) -> None:
    rng = np.random.default_rng(4)
    usual = Spread(histogram_of(rng.normal(size=5_000).tolist()))
    found = []
    for _ in range(60):
        canary, stable = (Spread(histogram_of(rng.normal(size=size).tolist())) for size in (n, m))
        differing = predictions_differing(seen(usual, canary, stable))
        assert differing is not None
        assert differing.stability is not None
        found.append(differing.stability)
    # Biased, it would be about 9 (1 / n + 1 / m): 0.36 of 50 and 50, when 0.1 is called far. What is left is the
    # higher orders of few answers of stable, whose categories may be empty.
    assert abs(float(np.mean(found))) < 0.35 * 9 * (1 / n + 1 / m)
