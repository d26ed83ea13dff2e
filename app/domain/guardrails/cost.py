"""What answers cost: whether the canary's are dearer by more than the margin, and what to show of money.

Rule: costs are compared answer by answer under the coin, each capped as the prices say, so that one outlier decides
nothing; money per day is shown and never tested.

The canary's cost is held against (1 + margin) times stable's plus a floor: with y the canary's cost and x stable's,
both over (1 + margin) cap + floor, the score process of `y` and `(1 + margin) x + floor` has mean 0 where the canary is
as dear as that, whatever it costs today; no reference is needed for it to be fair.

Source: the score process, Howard et al. 2021, Theorem 4 and Proposition 9.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from app.domain.catalog.declarations import Prices
from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.absorb_observed import read_by_coin
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.observed import COST, Measure, Observed
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.kind import GuardrailKind, Terms, wants_proof
from app.domain.guardrails.phrases import CLOSINGS, money, with_uneven
from app.domain.guardrails.rates import LEAST_WEIGHT
from app.domain.guardrails.split import Covered, coverage_of
from app.domain.stats.score import (
    ScoreEpoch,
    Sums,
    best_rho,
    increments,
    log_e_not_worse,
    log_e_worse,
    scale_not_worse,
    scale_worse,
    scaled,
)

HOURS_PER_DAY = 24.0
_SECONDS_PER_DAY = 86_400.0
# A margin below this is taken for it where the process is tuned; it still decides as it is.
_LEAST_TUNED = 0.01
_LEAST_VARIANCE = 0.01
_LEAST_CENTRE = 1e-3


@dataclass(frozen=True, slots=True)
class _Yardstick:  # ADR 0103
    """How costs become outcomes in [0, 1].

    Attributes:
        cap: No answer counts as dearer.
        factor, floor: The canary may cost `factor` times stable's cost plus `floor`.
        centre: A guess of the mean outcome, fixed before the first exchange.
    """

    cap: float
    factor: float
    floor: float
    centre: float

    @property
    def whole(self) -> float:
        """The cost that is the outcome 1."""
        return self.factor * self.cap + self.floor

    def canary(self, cost: Measure) -> Sums:
        """The canary's outcomes."""
        return self._sums(cost, 1.0, 0.0)

    def stable(self, cost: Measure) -> Sums:
        """Stable's, as dear as the canary may be."""
        return self._sums(cost, self.factor, self.floor)

    def _sums(self, cost: Measure, factor: float, floor: float) -> Sums:
        n, total, squares = cost
        total = min(total, n * self.cap)
        squares = min(squares, total * self.cap)
        dearer = factor * total + n * floor
        dearer_squares = factor * factor * squares + 2.0 * factor * floor * total + n * floor * floor
        # What rounding adds must not make an outcome of more than 1.
        of_one = min(dearer / self.whole, float(n))
        return Sums(n, of_one, min(max(dearer_squares / self.whole**2, of_one * of_one / n if n else 0.0), of_one))


def judge_cost(evidence: Evidence, terms: Terms) -> Finding:
    """Dearer answers: turned back, and promoted, by P2 against stable's cost times 1 + margin, plus the floor."""
    costs = tuple(_costs(evidence))
    cap = evidence.of_model.cost_cap
    answers = sum(canary.n for _, canary, _ in costs)
    if cap is None or not answers:
        return terms.nothing(
            f"Cost is not judged: no answer of {evidence.canary} or of {evidence.stable} has a price; "
            "versions are registered with prices."
        )
    known = coverage_of(Covered(weight_bp, canary.n, stable.n) for weight_bp, canary, stable in costs)
    worse, not_worse = _evidence(costs, _yardstick(evidence, terms.guardrail, cap), terms.policy)
    worse, not_worse = known.harm(worse), known.proof(not_worse)
    verdict = terms.verdict(worse, not_worse, answers)
    numbers = _numbers(costs)
    sentence = _sentence(evidence, terms.guardrail, verdict, numbers)
    sentence = with_uneven(sentence, evidence, "Costs are known", uneven=known.is_uneven)
    return terms.finding(evidence, verdict, (worse, not_worse), sentence, numbers)


def _sentence(evidence: Evidence, guardrail: Guardrail, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """Both arms' mean costs, and what may be."""
    if "canary_cost" not in numbers:
        return f"Cost: no answer of {evidence.stable} has a price to compare with at the same weights yet."
    margin, floor = guardrail.margins
    allowed = f"{margin * 100:g} % and {money(floor)}" if floor else f"{margin * 100:g} %"
    return (
        f"An answer costs {money(numbers['canary_cost'])} from {evidence.canary}, {money(numbers['stable_cost'])} from "
        f"{evidence.stable} at the same weights, {allowed} more may be{CLOSINGS[verdict]}."
    )


def _costs(evidence: Evidence) -> Iterator[tuple[int, Measure, Measure]]:
    """Weight, the canary's costs and stable's."""
    for weight_bp, epoch in read_by_coin(evidence).items():
        yield weight_bp, epoch.canary.measures.get(COST, Measure()), epoch.stable.measures.get(COST, Measure())


def _yardstick(evidence: Evidence, guardrail: Guardrail, cap: float) -> _Yardstick:
    margin, floor = guardrail.margins
    factor = 1.0 + margin
    usual = min(evidence.of_model.cost_reference or 0.0, cap)
    centre = (factor * usual + floor) / (factor * cap + floor)
    return _Yardstick(cap, factor, floor, min(max(centre, _LEAST_CENTRE), 0.5))


def _evidence(
    costs: tuple[tuple[int, Measure, Measure], ...], yardstick: _Yardstick, policy: Policy
) -> tuple[float, float]:
    """Log E of harm and of no harm."""
    added = increments(
        (
            ScoreEpoch(weight_bp / FULL_BP, yardstick.canary(canary), yardstick.stable(stable), canary.n + stable.n)
            for weight_bp, canary, stable in costs
        ),
        yardstick.centre,
    )
    highest = policy.max_weight_bp / FULL_BP
    allowed = max(yardstick.factor - 1.0, _LEAST_TUNED)
    # About the variance at which a canary that costs the same is proven so, if costs scatter as much as they are.
    variance = max(_LEAST_VARIANCE, 10.0 * (yardstick.centre / allowed) ** 2)
    down = scale_worse(yardstick.centre, LEAST_WEIGHT, highest)
    up = scale_not_worse(yardstick.centre, highest, highest)
    return (
        log_e_worse(scaled(added, inf), 0.0, best_rho(variance, 2.0 * policy.alpha_rollback), down),
        log_e_not_worse(scaled(added, up), 0.0, best_rho(variance, 2.0 * policy.alpha_promotion), up),
    )


def _numbers(costs: tuple[tuple[int, Measure, Measure], ...]) -> dict[str, float]:
    """Mean costs per answer, stable's standardised to the canary's mix of weights, and what the canary cost more."""
    both = [(canary, stable) for _, canary, stable in costs if canary.n and stable.n]
    n = sum(canary.n for canary, _ in both)
    if not n:
        return {}
    cost = sum(canary.total for canary, _ in both)
    expected = sum(canary.n * stable.total / stable.n for canary, stable in both)
    return {"canary_cost": cost / n, "stable_cost": expected / n, "extra_cost": cost - expected, "answers": n}


def cost_per_answer(observed: Observed) -> float | None:
    """Mean cost of the answers that were read, in the currency of the prices; None while none has a cost."""
    cost = observed.measures.get(COST, Measure())
    return cost.total / cost.n if cost.n else None


def cost_per_day(per_answer: float, answers_per_s: float, prices: Prices) -> float:
    """What a version costs a day that answers so often, being kept running included."""
    return per_answer * answers_per_s * _SECONDS_PER_DAY + keeping_warm(prices, HOURS_PER_DAY)


def keeping_warm(prices: Prices, hours: float) -> float:
    """What it costs to keep a version running for so many hours, answering nobody."""
    return prices.per_hour * hours


def turning_back_per_day(away: float, back: float, answers_per_s: float) -> float:
    """What a rollback costs a day, or saves where negative: the turned-back version's answers, given by the other.

    Args:
        away: What an answer of the version that loses its traffic costs.
        back: The same of the version that gets it.
        answers_per_s: The traffic that moves.
    """
    # Adding 0.0 makes one zero of the two.
    return (back - away) * answers_per_s * _SECONDS_PER_DAY + 0.0


KIND = GuardrailKind(
    usual=Guardrail(Metric("cost"), margin=0.25, floor=0.0),
    ranges={"margin": (0.0, 100.0), "floor": (0.0, 1e6)},
    share=0.10,
    judge=judge_cost,
    extra=None,
    wants=wants_proof("is no dearer than it may be"),
)
