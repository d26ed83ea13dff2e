"""Rates of bad answers: how a guardrail on one outcome is turned back, and how it is proven.

Rule: evidence of harm and evidence of no harm are different tests; no evidence of harm is
never read as evidence of no harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.catalog.policy import Guardrail, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.estimates import (
    DRAWN,
    JUDGED,
    Count,
    Rates,
    counted_together,
    drawn_by_coin,
    outcomes,
    rates,
)
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.finding import WORSE_VERDICTS, Finding, Verdict
from app.domain.guardrails.kind import Rate, Terms
from app.domain.guardrails.phrases import closing, percent, sure
from app.domain.guardrails.split import if_split_is_trusted
from app.domain.stats.eprocess_batch import log_e_full_of_many, log_e_tilt_of_many
from app.domain.stats.harm import least_harm_ratio, of_halves
from app.domain.stats.score import (
    Increment,
    Score,
    ScoreEpoch,
    Sums,
    best_rho,
    binary,
    excess_bound,
    increments,
    log_e_not_worse,
    scale_not_worse,
    scaled,
)

LEAST_WEIGHT = 1 / FULL_BP


@dataclass(frozen=True, slots=True)
class Margin:
    """How P2 is set up for one rollout; fixed by the policy and the reference.

    Attributes:
        delta: Absolute excess of bad answers that counts as worse.
        rho: Tuning constant of the mixtures.
        proof_step: Greatest step, and scale c, of the process that proves no harm.
        bound_step: The same of the process behind the bound on the excess.
    """

    delta: float
    rho: float
    proof_step: float
    bound_step: float


def margin_of(reference: float, policy: Policy, guardrail: Guardrail) -> Margin:
    """The margin of a rate whose reference, fixed before the first exchange, lies in (0, 1)."""
    relative, floor = guardrail.margins
    delta = max(relative * reference, floor)
    # About the variance V at which a canary as good as stable is proven so.
    variance = max(1.0, 10.0 * (reference / delta) ** 2)
    highest = policy.max_weight_bp / FULL_BP
    return Margin(
        delta=delta,
        rho=best_rho(variance, 2.0 * policy.alpha_promotion),
        # Proof comes at the highest weight, the first bound at the lowest.
        proof_step=scale_not_worse(reference, highest, highest),
        bound_step=scale_not_worse(reference, LEAST_WEIGHT, highest),
    )


@once_per_evidence
def score_of(evidence: Evidence, bad: Count, reference: float, greatest_step: float) -> Score:
    """The score process of bad answers about a reference."""
    return scaled(_increments(evidence, bad, reference), greatest_step)


@once_per_evidence
def _increments(evidence: Evidence, bad: Count, reference: float) -> tuple[Increment, ...]:
    epochs = (
        ScoreEpoch(
            weight_bp / FULL_BP,
            _with_missing(epoch, bad),
            binary(epoch.stable.judged, bad(epoch.stable)),
            _share_answered(epoch.stable) * (epoch.canary.drawn + epoch.stable.drawn),
        )
        for weight_bp, epoch in drawn_by_coin(evidence).items()
        if epoch.stable.judged
    )
    return increments(epochs, reference)


def _with_missing(epoch: EpochCounts, bad: Count) -> Sums:
    """The canary's answers, and as bad ones those that it lacks beyond stable's share of answers that never came.

    A canary whose callers leave before it answers is so never proven good by the few who stayed, nor by stable's.
    """
    canary = epoch.canary
    missing = max(0.0, _share_answered(epoch.stable) * canary.drawn - canary.judged)
    return binary(canary.judged + missing, bad(canary) + missing)


def _share_answered(arm: ArmCounts) -> float:
    return arm.judged / arm.drawn if arm.drawn else 1.0


@dataclass(frozen=True, slots=True)
class Proof:
    """That the canary has not more bad answers by the margin.

    Attributes:
        log_e: Evidence of it.
        at_most: So many more there are at most, a share; None while it is not proven.
    """

    log_e: float
    at_most: float | None


def proof(evidence: Evidence, terms: Terms, bad: Count, reference: float) -> Proof:
    """P2 of bad answers about what is usual for stable."""
    margin = margin_of(reference, terms.policy, terms.guardrail)
    totals = score_of(evidence, bad, reference, margin.proof_step)
    log_e = log_e_not_worse(totals, margin.delta, margin.rho, margin.proof_step)
    if log_e < terms.log_proof:
        return Proof(log_e, None)
    return Proof(log_e, max(0.0, excess_bound(totals, terms.policy.alpha_promotion, margin.rho, margin.proof_step)))


def judge_rate(rate: Rate, evidence: Evidence, terms: Terms, proven: Proof | None) -> Finding:
    """Turned back by P1; `proven` is None where nothing else can be."""
    epochs = drawn_by_coin(evidence)
    worse = _harm(evidence, rate.together or (rate.bad,), rate.usual(evidence))[rate.bad]
    not_worse = None if proven is None else proven.log_e
    verdict = terms.verdict(worse, not_worse, sum(epoch.canary.judged for epoch in epochs.values()))
    seen = rates(epochs, rate.bad, JUDGED)
    least = None
    if verdict in WORSE_VERDICTS:
        least = least_harm_ratio(outcomes(epochs, rate.bad, DRAWN), worse, terms.log_limit)
    numbers = numbers_of(seen, least_ratio=least, excess_at_most=None if proven is None else proven.at_most)
    sentence = _sentence(rate, evidence, terms.policy, verdict, numbers, is_proven=proven is not None)
    return terms.finding(evidence, verdict, (worse, not_worse), sentence, numbers)


@once_per_evidence
def _harm(evidence: Evidence, counts: tuple[Count, ...], reference: float) -> Mapping[Count, float]:
    """As `harm.log_e_harm`, of each; an answer that never came is no bad one, in either arm."""
    tested = counted_together(drawn_by_coin(evidence), counts, DRAWN)
    bad_alone = log_e_tilt_of_many(tested)
    with_good = if_split_is_trusted(evidence, log_e_full_of_many(tested, (reference,) * len(counts)))
    return dict(zip(counts, map(of_halves, bad_alone, with_good), strict=True))


def _sentence(
    rate: Rate, evidence: Evidence, policy: Policy, verdict: Verdict, numbers: Mapping[str, float], *, is_proven: bool
) -> str:
    """Both rates, how far apart, and how sure."""
    canary, stable = evidence.canary, evidence.stable
    if "canary_rate" not in numbers:
        return f"{rate.noun}: {canary} has given no answers yet."
    sentence = (
        f"{rate.noun} {percent(numbers['canary_rate'])} for {canary}, {percent(numbers['stable_rate'])} for {stable} "
        f"at the same weights{closing(verdict, is_proven=is_proven)}"
    )
    least = numbers.get("least_ratio", 0.0)
    if least > 1.0:
        sentence += f", at least {least:.2f} times as often {sure(policy.alpha_rollback)}"
    if verdict is Verdict.HEALTHY and "excess_at_most" in numbers:
        most = percent(numbers["excess_at_most"])
        sentence += f", at most {most} more of its answers are {rate.said} {sure(policy.alpha_promotion)}"
    return f"{sentence}."


def numbers_of(seen: Rates | None, **bounds: float | None) -> Mapping[str, float]:
    """Rates and bounds for display; what is None is left out."""
    numbers = {} if seen is None else {"canary_rate": seen.canary, "stable_rate": seen.stable, "extra": seen.extra}
    return {**numbers, **{name: bound for name, bound in bounds.items() if bound is not None}}
