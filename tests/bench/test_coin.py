"""What the benchmark computes for many runs at once is what the product computes for one."""

from dataclasses import replace
from itertools import pairwise
from math import log

import numpy as np
import pytest

from app.domain.catalog.policy import Policy
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.tally import Outcome, Tally
from app.domain.guardrails.errors import exposure_guardrail
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.guardrails.registry import judge
from app.domain.stats.eprocess import WORSE, Outcomes, log_e_full, log_e_tilt
from app.domain.stats.harm import log_e_harm
from app.domain.stats.latency_histogram import edge_us
from app.domain.stats.score import ScoreEpoch, binary, log_e_not_worse, score
from bench.judging import proofs
from bench.judging.coin import ERRORS_ONLY, REFERENCE, full, log_e_errors, turnback
from bench.judging.draws import RampWhileRatesRise, Steady
from bench.judging.slowness import Latencies, Shift, log_e_slow
from bench.judging.traffic import Traffic
from bench.world import CANARY, STABLE, START_S


def epochs_until(traffic: Traffic, run: int, look: int) -> list[Outcomes]:
    """Outcomes by weight, of the looks up to and with this one."""
    upto = slice(0, look + 1)
    weights = np.broadcast_to(traffic.weight_bp, traffic.canary.shape)[run, upto]
    found = []
    for weight in np.unique(weights):
        at = weights == weight
        canary, stable, canary_bad, stable_bad = (
            int(each[run, upto][at].sum())
            for each in (traffic.canary, traffic.stable, traffic.canary_bad, traffic.stable_bad)
        )
        found.append(Outcomes(weight / 10_000, canary_bad, stable_bad, canary - canary_bad, stable - stable_bad))
    return found


@pytest.mark.parametrize("stream", [Steady(0.06, 0.02, weight_bp=500, looks=40), RampWhileRatesRise(looks=40)])
def test_the_mixtures_of_many_runs_are_the_product_s(stream: Steady | RampWhileRatesRise) -> None:
    traffic = stream.draw(5, np.random.default_rng(5)).seen
    errors_only, both = ERRORS_ONLY.log_e(traffic), full(0.02).log_e(traffic)
    for index in np.ndindex(*traffic.canary.shape):
        epochs = epochs_until(traffic, *index)
        assert errors_only[index] == pytest.approx(log_e_tilt(epochs), abs=1e-9)
        assert both[index] == pytest.approx(log_e_full(epochs, 0.02), abs=1e-9)


def test_a_ratio_that_cannot_be_is_left_out_of_the_full_mixture() -> None:
    assert len(full(0.02).ratios) < len(WORSE)
    assert len(full(0.5).ratios) == 4


def test_turning_back_is_what_the_product_would_do_at_each_look() -> None:
    traffic = Steady(0.02, 0.01, looks=30).draw(40, np.random.default_rng(4)).seen
    found = turnback(traffic, 0.05).rolled_back
    assert 0 < np.isfinite(found).sum() < 40
    for run in range(40):
        crossed = [look for look in range(30) if log_e_harm(epochs_until(traffic, run, look), REFERENCE) >= log(20.0)]
        assert found[run] == (crossed[0] if crossed else np.inf)


def evidence_of(epoch: EpochCounts, policy: Policy) -> Evidence:
    begun = Evidence.begin(STABLE, CANARY, slow_limits(policy), Tally(), START_S)
    return replace(begun, error_reference=REFERENCE, by_weight={5_000: epoch})


def test_the_evidence_of_errors_is_the_guardrail_s() -> None:
    traffic = Steady(0.05, looks=20).draw(3, np.random.default_rng(8)).seen
    found = log_e_errors(traffic)
    totals = traffic.totals()
    for index in np.ndindex(*found.shape):
        arms = (
            ArmCounts(int(n[index]), {Outcome.OK: int(n[index] - bad[index]), Outcome.UPSTREAM_ERROR: int(bad[index])})
            for n, bad in ((totals.canary, totals.canary_bad), (totals.stable, totals.stable_bad))
        )
        judged = judge(
            evidence_of(EpochCounts(*arms), DEFAULT_POLICY), DEFAULT_POLICY, exposure_guardrail(DEFAULT_POLICY)
        )
        assert judged.log_e_worse == pytest.approx(found[index], abs=1e-9)


@pytest.mark.parametrize("slo_quantile", [0.95, 0.99])
def test_the_evidence_of_slowness_is_the_guardrail_s(slo_quantile: float) -> None:
    latencies = Latencies(Shift(1.3), 0.1, 1.0, slo_quantile, looks=10)
    thresholds, timings = latencies.draw(3, np.random.default_rng(8))
    found = log_e_slow(thresholds, timings, slo_quantile)
    policy = latencies.policy()
    totals = [timings.slow(edge_us(each.canary_bin), edge_us(each.stable_bin)).totals() for each in thresholds]
    for index in np.ndindex(*found.shape):
        canary = ArmCounts(timed=int(totals[0].canary[index]), slow=tuple(int(t.canary_bad[index]) for t in totals))
        stable = ArmCounts(timed=int(totals[0].stable[index]), slow=tuple(int(t.stable_bad[index]) for t in totals))
        empty = evidence_of(EpochCounts(canary, stable), policy)
        evidence = replace(empty, thresholds=thresholds)
        judged = judge(evidence, policy, latencies.guardrail())
        assert judged.log_e_worse == pytest.approx(found[index], abs=1e-9)


def test_a_tail_shift_leaves_p95_and_multiplies_p99() -> None:
    tail, whole, none = Shift(2.0, tail_only=True), Shift(2.0), Shift()
    q95, q99 = 100_000 * np.exp(0.5 * 1.6448536), 100_000 * np.exp(0.5 * 2.3263479)
    assert [shift.share_above(q95) for shift in (none, tail)] == pytest.approx([0.05, 0.05], abs=1e-6)
    assert tail.share_above(2.0 * q99) == pytest.approx(0.01, abs=1e-6)
    assert whole.share_above(2.0 * q99) == pytest.approx(0.01, abs=1e-6)
    assert none.share_above(q99) == pytest.approx(0.01, abs=1e-6)
    assert 0.03 < tail.share_above(q99) < 0.05 < whole.share_above(q95)


def test_slow_counts_have_the_shares_they_were_drawn_with_and_fall_with_the_threshold() -> None:
    thresholds, timings = Latencies(Shift(1.5), 0.0, 0.0, 0.99, looks=50).draw(40, np.random.default_rng(1))
    drawn = [timings.slow(edge_us(each.canary_bin), edge_us(each.stable_bin)) for each in thresholds]
    stable = [traffic.stable_bad.sum() / traffic.stable.sum() for traffic in drawn]
    assert stable[0] == pytest.approx(0.5, abs=0.02)
    assert stable[5] == pytest.approx(0.01, abs=0.002)
    assert drawn[5].canary_bad.sum() / drawn[5].canary.sum() == pytest.approx(
        Shift(1.5).share_above(edge_us(thresholds[5].canary_bin)), rel=0.05
    )
    for left, right in pairwise(drawn):
        assert (left.canary_bad >= right.canary_bad).all()
        assert (left.canary_bad <= left.canary).all()


def test_proofs_come_at_the_look_at_which_the_product_s_process_reaches_them() -> None:
    policy = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"),))
    traffic = Steady(0.01, looks=60).draw(12, np.random.default_rng(2)).seen
    found = proofs.proven(traffic, policy).promoted
    margin = proofs.margin_of(policy)
    totals = traffic.totals()
    assert 0 < np.isfinite(found).sum() < 12
    for run in range(12):
        log_e = [
            log_e_not_worse(
                score(
                    [
                        ScoreEpoch(
                            0.5,
                            binary(int(totals.canary[run, look]), int(totals.canary_bad[run, look])),
                            binary(int(totals.stable[run, look]), int(totals.stable_bad[run, look])),
                            float(traffic.exchanges[run, look]),
                        )
                    ],
                    0.01,
                    margin.proof_step,
                ),
                margin.delta,
                margin.rho,
                margin.proof_step,
            )
            for look in range(60)
        ]
        crossed = [look for look, value in enumerate(log_e) if value >= log(1.0 / policy.alpha_promotion)]
        assert found[run] == (crossed[0] if crossed else np.inf)
