"""Costs: a dearer canary is turned back, one as dear is proven so, and the margin decides which is which."""

from dataclasses import replace

import numpy as np
import pytest
from domain.counts import HISTORY, START, arm
from domain.walking import pending

from app.domain.catalog.declarations import Prices
from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import Guardrail, OnRegression
from app.domain.evidence.evidence import EpochCounts, Evidence
from app.domain.evidence.model_evidence import ModelEvidence, ObservedEpoch
from app.domain.evidence.observed import COST, Measure, Observed
from app.domain.guardrails.assess import assess
from app.domain.guardrails.cost import cost_per_answer, cost_per_day, keeping_warm
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import judge
from app.domain.reports.outlook import outlook
from app.domain.rollout import wording

COSTLY = guardrail("cost")
POLICY = replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, COSTLY))


def costs(rng: np.random.Generator, n: int, mean: float, cap: float = 1.0) -> Observed:
    """Gamma-distributed costs with a coefficient of variation of about 1, capped."""
    drawn = np.minimum(rng.gamma(1.0, mean, n), cap)
    return Observed(measures={COST: Measure(n, float(drawn.sum()), float((drawn * drawn).sum()))})


def evidence(epochs: dict[int, tuple[Observed, Observed]], reference: float | None = 0.1) -> Evidence:
    begun = Evidence.begin(VersionName("v1"), VersionName("v2"), slow_limits(POLICY), HISTORY, START)
    observed = {bp: ObservedEpoch(*arms) for bp, arms in epochs.items()}
    return replace(begun, of_model=ModelEvidence(observed=observed, cost_reference=reference, cost_cap=1.0))


def judged(
    ratio: float,
    *,
    seed: int = 1,
    n: int = 20_000,
    reference: float | None = 0.1,
    guardrail: Guardrail = COSTLY,
    stable_n: int | None = None,
) -> Finding:
    rng = np.random.default_rng(seed)
    arms = (costs(rng, n, 0.1 * ratio), costs(rng, n if stable_n is None else stable_n, 0.1))
    return judge(evidence({5_000: arms}, reference), POLICY, guardrail)


@pytest.mark.parametrize("reference", [0.1, None, 0.7])
def test_a_canary_that_costs_half_more_is_turned_back_whatever_the_reference(reference: float | None) -> None:
    finding = judged(1.5, reference=reference)
    assert finding.verdict is Verdict.REGRESSED
    assert finding.numbers["canary_cost"] == pytest.approx(0.15, rel=0.05)
    assert finding.numbers["extra_cost"] == pytest.approx(20_000 * 0.05, rel=0.1)


@pytest.mark.parametrize("reference", [0.1, None])
def test_a_canary_that_costs_the_same_is_proven_so(reference: float | None) -> None:
    assert judged(1.0, reference=reference).verdict is Verdict.HEALTHY


def test_a_canary_within_the_margin_is_never_turned_back_and_a_wider_margin_lets_more_through() -> None:
    findings = [judged(1.2, seed=seed) for seed in range(20)]
    assert {finding.verdict for finding in findings} <= {Verdict.HEALTHY, Verdict.INCONCLUSIVE_HEALTHY}
    assert judged(1.5, guardrail=replace(COSTLY, margin=1.0)).verdict is Verdict.HEALTHY
    assert judged(1.5, guardrail=replace(COSTLY, floor=0.1)).verdict is Verdict.HEALTHY


def test_exactly_on_the_margin_neither_is_proven_but_rarely() -> None:
    findings = [judged(1.25, seed=seed, n=4_000) for seed in range(100)]
    verdicts = [finding.verdict for finding in findings]
    assert verdicts.count(Verdict.REGRESSED) <= 1
    assert verdicts.count(Verdict.HEALTHY) <= 5


def test_rates_of_traffic_that_move_with_the_weight_are_no_difference_in_cost() -> None:
    rng = np.random.default_rng(3)
    # Pooled, the canary is four times as dear: it was exposed when everything was dear.
    dear, cheap = 0.4, 0.05
    epochs = {
        100: (costs(rng, 200, cheap), costs(rng, 19_800, cheap)),
        5_000: (costs(rng, 5_000, dear), costs(rng, 5_000, dear)),
    }
    finding = judge(evidence(epochs), POLICY, COSTLY)
    assert finding.verdict is not Verdict.REGRESSED
    assert finding.numbers["canary_cost"] == pytest.approx(finding.numbers["stable_cost"], rel=0.05)


def test_costs_that_are_known_more_often_of_one_version_prove_nothing_and_turn_nothing_back() -> None:
    for ratio in (0.5, 1.0, 3.0):
        finding = judged(ratio, stable_n=10_000)
        assert finding.verdict is Verdict.INCONCLUSIVE_HEALTHY
        assert "Costs are known more often of one of v2 and v1" in finding.sentence


def test_without_prices_nothing_is_said_and_the_sentence_says_why() -> None:
    finding = judge(evidence({5_000: (Observed(read=9), Observed(read=9))}), POLICY, COSTLY)
    assert (finding.verdict, finding.log_e_worse) == (Verdict.NO_EVENTS, None)
    assert finding.sentence.startswith("Cost is not judged: no answer of v2 or of v1 has a price")


def test_costs_at_the_cap_do_not_break_the_bounds_of_the_process() -> None:
    at_cap = Observed(measures={COST: Measure(3, 0.1 + 0.1 + 0.1, 3 * 0.1**2)})
    begun = evidence({5_000: (at_cap, at_cap)})
    finding = judge(replace(begun, of_model=replace(begun.of_model, cost_cap=0.1)), POLICY, COSTLY)
    assert finding.verdict is Verdict.INSUFFICIENT_DATA


def test_a_sentence_tells_costs_margin_and_what_follows() -> None:
    finding = judged(1.5, guardrail=replace(COSTLY, on_regression=OnRegression.WARN, floor=0.01))
    assert "from v2" in finding.sentence
    assert "25 % and 0.01 more may be: proven worse; a warning, nothing follows." in finding.sentence


def test_money_of_a_day_counts_answers_and_the_machine_that_gives_them() -> None:
    prices = Prices(per_hour=2.0)
    assert cost_per_day(0.001, 10.0, prices) == pytest.approx(10 * 86_400 * 0.001 + 48.0)
    assert keeping_warm(prices, 12.0) == 24.0
    assert cost_per_answer(Observed(measures={COST: Measure(4, 1.0, 0.5)})) == 0.25
    assert cost_per_answer(Observed(read=4)) is None


def test_a_canary_with_prices_beside_a_stable_without_any_is_not_compared() -> None:
    rng = np.random.default_rng(5)
    finding = judge(evidence({5_000: (costs(rng, 2, 0.1), Observed(read=2))}), POLICY, COSTLY)
    assert finding.sentence == "Cost: no answer of v1 has a price to compare with at the same weights yet."
    assert finding.verdict is Verdict.INSUFFICIENT_DATA


def test_a_rollout_turned_back_by_cost_counts_no_bad_answers_and_one_still_open_says_what_it_waits_for() -> None:
    rng = np.random.default_rng(6)
    found = evidence({5_000: (costs(rng, 20_000, 0.3), costs(rng, 20_000, 0.1))})
    seen = assess(found, POLICY)
    assert (seen.verdict, str(seen.trigger)) == (Verdict.REGRESSED, "cost")
    led = replace(pending(POLICY), evidence=found, weight_bp=5_000)
    assert wording.turned_back(led, seen).endswith("of 100 needed.")
    few = evidence({5_000: (costs(rng, 50, 0.1), costs(rng, 50, 0.1))})
    few = replace(few, by_weight={5_000: EpochCounts(arm(50), arm(50))})
    wants = outlook(few, POLICY, assess(few, POLICY)).wants
    assert any(want.startswith("proof that v2 is no dearer than it may be: evidence") for want in wants)
    unpriced = replace(few, of_model=ModelEvidence())
    wants = outlook(unpriced, POLICY, assess(unpriced, POLICY)).wants
    assert any(want.startswith("Cost is not judged: no answer of v2 or of v1 has a price") for want in wants)
