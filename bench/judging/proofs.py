"""How often the product proves a version not worse, at a constant weight: on the margin, and when it is as good."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.catalog.policy import Policy
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.tally import Outcome, Tally
from app.domain.guardrails.errors import error_margin
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.guardrails.rates import Margin
from app.domain.stats.score import gamma_exponential_bound
from bench.judging.draws import Steady
from bench.judging.intervals import Document, median, share
from bench.judging.situations import verdicts
from bench.judging.traffic import Ends, Figures, Traffic, first
from bench.world import CANARY, STABLE, START_S

STABLE_RATE = 0.01
_WEIGHT = 0.5
_REFERENCE = 100_000
_GRID = 2_000


@dataclass(frozen=True, slots=True)
class Proof:
    """A canary whose errors are looked at until they are proven not worse, or the exchanges end."""

    name: str
    rate: float
    quick_runs: int
    full_runs: int


PROOFS = (
    Proof("as good", 0.01, 250, 1_000),
    Proof("on the margin", 0.02, 500, 4_000),
)


def margin_of(policy: Policy) -> Margin:
    """The product's margin for a stable that fails 1 % of the time."""
    bad = round(_REFERENCE * STABLE_RATE)
    reference = Tally(_REFERENCE, {Outcome.UPSTREAM_ERROR: bad, Outcome.OK: _REFERENCE - bad})
    return error_margin(Evidence.begin(STABLE, CANARY, slow_limits(policy), reference, START_S), policy)


def proven(traffic: Traffic, policy: Policy) -> Ends:
    """Where `score.log_e_not_worse` reaches 1 / alpha_promotion, for traffic at half of the weight.

    The process is compared with its own boundary, which is read from a fine table of the product's.
    """
    margin = margin_of(policy)
    totals = traffic.totals()
    score = _WEIGHT * (
        (totals.canary_bad - totals.canary * STABLE_RATE) - (totals.stable_bad - totals.stable * STABLE_RATE)
    )
    bad, answers = totals.canary_bad + totals.stable_bad, totals.canary + totals.stable
    variance = _WEIGHT**2 * (bad * (1.0 - 2.0 * STABLE_RATE) + answers * STABLE_RATE**2)
    overlap = answers * _WEIGHT * (1.0 - _WEIGHT)
    reached = margin.delta * overlap - score >= _boundary(variance, margin, policy.alpha_promotion)
    promoted = first(reached)
    return Ends(np.full_like(promoted, np.inf), promoted)


def _boundary(variance: Figures, margin: Margin, alpha: float) -> Figures:
    grid = np.linspace(0.0, float(variance.max()), _GRID)
    bounds = [gamma_exponential_bound(v, alpha, margin.rho, margin.proof_step) for v in grid]
    return np.interp(variance, grid, bounds)


def judge(proof: Proof, runs: int, seed: int) -> Figures:
    """Exchanges until each run was proven, shape (runs,); inf where it was not within 50,000."""
    stream = Steady(proof.rate, STABLE_RATE, per_look=50)
    traffic = stream.draw(runs, np.random.default_rng(seed)).seen
    ends = proven(traffic, DEFAULT_POLICY)
    return verdicts(traffic, Ends(ends.promoted, ends.rolled_back)).exchanges


def summary(_: Proof, parts: Sequence[Figures]) -> Document:
    """How often, and after how many exchanges."""
    exchanges = np.concatenate(parts)
    return {"promoted": share(np.isfinite(exchanges)), "median_exchanges": median(exchanges)}
