"""One limit each: what errors, timeouts, latency and the split say about the canary.

Rule: evidence of harm and evidence of no harm are different tests; no evidence of harm is
never read as evidence of no harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import log

from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.estimates import (
    CANARY,
    DRAWN,
    ENDED,
    ERRORS,
    JUDGED,
    STABLE,
    TIMED,
    TIMEOUTS,
    Count,
    Epochs,
    Rates,
    counted_together,
    drawn_by_coin,
    outcomes,
    rates,
    slow_together,
)
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails import sentences
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.latency import limits_of
from app.domain.stats.eprocess import (
    BETTER,
    SPLIT_RATIOS,
    WORSE,
    log_weighted_mean,
)
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

SPLIT = "split"
# How alpha_rollback is shared, renormalised over the metrics a policy names.
SHARES: Mapping[Metric, float] = {
    Metric.ERRORS: 0.30,
    Metric.TIMEOUTS: 0.10,
    Metric.LATENCY: 0.25,
    Metric.VALIDITY: 0.10,
    Metric.LABELS: 0.25,
    Metric.SLICES: 0.20,
    Metric.COST: 0.10,
    Metric.DRIFT: 0.05,
}
SPLIT_LIMIT = 1_000.0
SPLIT_DOUBT = 10.0
# Fewer canary answers than this are called too few to say anything.
MIN_ANSWERS = 50
LEAST_WEIGHT = 1 / FULL_BP


@once_per_evidence
def shares(policy: Policy) -> Mapping[Metric, float]:
    """The weights pi in the average of e-values, of the guardrails that turn back; they sum to 1."""
    named = {each.metric: SHARES[each.metric] for each in policy.guardrails if each.turns_back}
    total = sum(named.values())
    return {metric: share / total for metric, share in named.items()}


def share_of(policy: Policy, guardrail: Guardrail) -> float:
    """The weight pi of one guardrail that turns back; several of one metric have its share together."""
    alike = sum(each.turns_back and each.metric is guardrail.metric for each in policy.guardrails)
    return shares(policy)[guardrail.metric] / alike


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


def error_margin(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Margin:
    """The margin of errors: the greater of a share of the reference and a floor."""
    return margin_of(evidence.error_reference, policy, guardrail)


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
def error_score(evidence: Evidence, greatest_step: float) -> Score:
    """The score process of bad answers, errors and timeouts together."""
    return scaled(_increments(evidence), greatest_step)


@once_per_evidence
def _increments(evidence: Evidence) -> tuple[Increment, ...]:
    epochs = (
        ScoreEpoch(
            weight_bp / FULL_BP,
            _with_missing(epoch),
            binary(epoch.stable.judged, epoch.stable.bad),
            _share_answered(epoch.stable) * (epoch.canary.drawn + epoch.stable.drawn),
        )
        for weight_bp, epoch in drawn_by_coin(evidence).items()
        if epoch.stable.judged
    )
    return increments(epochs, evidence.error_reference)


def _with_missing(epoch: EpochCounts) -> Sums:
    """The canary's answers, and as bad ones those that it lacks beyond stable's share of answers that never came.

    A canary whose callers leave before it answers is so never proven good by the few who stayed, nor by stable's.
    """
    canary = epoch.canary
    missing = max(0.0, _share_answered(epoch.stable) * canary.drawn - canary.judged)
    return binary(canary.judged + missing, canary.bad + missing)


def _share_answered(arm: ArmCounts) -> float:
    return arm.judged / arm.drawn if arm.drawn else 1.0


def error_excess_bound(evidence: Evidence, policy: Policy) -> float:
    """U_t: at most this much of the canary's answers are bad beyond stable's rate, at any time."""
    margin = error_margin(evidence, policy, policy.errors)
    totals = error_score(evidence, margin.bound_step)
    return max(0.0, excess_bound(totals, policy.alpha_promotion, margin.rho, margin.bound_step))


def judge_errors(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Finding:
    """Wrong or missing answers: turned back by P1, promoted by P2 on errors and timeouts."""
    margin = error_margin(evidence, policy, guardrail)
    totals = error_score(evidence, margin.proof_step)
    not_worse = log_e_not_worse(totals, margin.delta, margin.rho, margin.proof_step)
    most = None
    if not_worse >= log(1.0 / policy.alpha_promotion):
        most = max(0.0, excess_bound(totals, policy.alpha_promotion, margin.rho, margin.proof_step))
    return _judge_rate(evidence, policy, guardrail, not_worse, most)


def judge_timeouts(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Finding:
    """Answers that did not come in time: turned back by P1; errors prove them not worse."""
    return _judge_rate(evidence, policy, guardrail, None, None)


def _judge_rate(
    evidence: Evidence, policy: Policy, guardrail: Guardrail, not_worse: float | None, most: float | None
) -> Finding:
    metric = guardrail.metric
    bad = ERRORS if metric is Metric.ERRORS else TIMEOUTS
    epochs = drawn_by_coin(evidence)
    worse = _harm(evidence)[metric]
    verdict = verdict_of(policy, guardrail, worse, not_worse, sum(epoch.canary.judged for epoch in epochs.values()))
    seen = rates(epochs, bad, JUDGED)
    least = None
    if verdict in WORSE_VERDICTS:
        least = least_harm_ratio(outcomes(epochs, bad, DRAWN), worse, log_limit(policy, guardrail))
    numbers = numbers_of(seen, least_ratio=least, excess_at_most=most)
    sentence = sentences.of_rate(evidence, policy, metric, verdict, numbers)
    sentence = sentences.with_consequence(sentence, evidence.canary, guardrail, verdict)
    return Finding(metric, verdict, worse, not_worse, sentence, numbers, dry_run=guardrail.dry_run)


@once_per_evidence
def _harm(evidence: Evidence) -> Mapping[Metric, float]:
    """As `harm.log_e_harm`, of errors and of timeouts; an answer that never came is no bad one, in either arm."""
    tested = counted_together(drawn_by_coin(evidence), (ERRORS, TIMEOUTS), DRAWN)
    bad_alone = log_e_tilt_of_many(tested)
    references = (evidence.error_reference,) * len(bad_alone)
    with_good = if_split_is_trusted(evidence, log_e_full_of_many(tested, references))
    errors, timeouts = map(of_halves, bad_alone, with_good)
    return {Metric.ERRORS: errors, Metric.TIMEOUTS: timeouts}


def if_split_is_trusted(evidence: Evidence, with_good: list[float]) -> list[float]:
    """Evidence of good and bad answers together, at most 1 while the coin does not seem fair.

    Draws that are missing must not pass for good answers that are missing; and what only gets smaller stays fair.
    """
    if _split_log_e(evidence) < log(SPLIT_DOUBT):
        return with_good
    return [min(log_e, 0.0) for log_e in with_good]


@once_per_evidence
def _split_log_e(evidence: Evidence) -> float:
    drawn_e, ended_e = log_e_tilt_of_many(counted_together(drawn_by_coin(evidence), (DRAWN, ENDED)), SPLIT_RATIOS)
    return log_weighted_mean([(0.5, drawn_e), (0.5, ended_e)])


def judge_latency(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Finding:
    """Slow answers, by thresholds frozen beforehand; half of the weight on the proven quantile."""
    places = _places(evidence, guardrail)
    if not places:
        sentence = sentences.NO_THRESHOLDS.format(stable=evidence.stable)
        return Finding(Metric.LATENCY, Verdict.INSUFFICIENT_DATA, None, None, sentence, dry_run=guardrail.dry_run)
    epochs = drawn_by_coin(evidence)
    slo = next(i for i in places if evidence.limits[i].level == guardrail.quantile)
    rest = 0.5 / (len(places) - 1)
    slower = _slowness(evidence, tuple(range(len(evidence.limits))), WORSE)
    logs = {i: slower[i] for i in places}
    worse = log_weighted_mean((0.5 if i == slo else rest, log_e) for i, log_e in logs.items())
    (not_worse,) = _slowness(evidence, (slo,), BETTER)
    verdict = verdict_of(policy, guardrail, worse, not_worse, sum(e.canary.timed for e in epochs.values()))
    loudest = max(places, key=logs.__getitem__) if verdict in WORSE_VERDICTS else slo
    seen = rates(epochs, _slow_beyond(loudest), TIMED)
    sentence = sentences.of_latency(evidence, evidence.thresholds[loudest], verdict, seen)
    sentence = sentences.with_untimed(sentence, evidence.canary, _share_untimed(epochs))
    sentence = sentences.with_consequence(sentence, evidence.canary, guardrail, verdict)
    return Finding(Metric.LATENCY, verdict, worse, not_worse, sentence, numbers_of(seen), dry_run=guardrail.dry_run)


@once_per_evidence
def _places(evidence: Evidence, guardrail: Guardrail) -> tuple[int, ...]:
    """Where the guardrail's thresholds stand; nothing before they are frozen, or if they are not all there."""
    places = {limit.key: place for place, limit in enumerate(evidence.limits)}
    keys = [limit.key for limit in limits_of(guardrail)]
    if not evidence.thresholds or not places.keys() >= set(keys):
        return ()
    return tuple(places[key] for key in keys)


@once_per_evidence
def _slowness(evidence: Evidence, places: tuple[int, ...], ratios: tuple[float, ...]) -> list[float]:
    """Evidence of harm or of none beyond each of the thresholds; what was not timed speaks against either."""
    references = tuple(1.0 - evidence.limits[i].level for i in places)
    tested = slow_together(evidence, places, untimed_is_slow=CANARY if ratios is BETTER else STABLE)
    return if_split_is_trusted(evidence, log_e_full_of_many(tested, references, ratios))


@once_per_evidence
def _share_untimed(epochs: Epochs) -> float:
    awaited = sum(max(epoch.canary.awaited, epoch.canary.timed) for epoch in epochs.values())
    return sum(epoch.canary.untimed for epoch in epochs.values()) / awaited if awaited else 0.0


@cache
def _slow_beyond(index: int) -> Count:
    return lambda arm: arm.slow[index] if arm.slow else 0


def judge_split(evidence: Evidence) -> Finding:
    """Whether the arms were drawn, and answered, in the coin's proportion. A test of trust, not of harm."""
    epochs = drawn_by_coin(evidence)
    log_e = _split_log_e(evidence)
    drawn = sum(epoch.canary.drawn + epoch.stable.drawn for epoch in epochs.values())
    verdict = Verdict.HEALTHY if drawn else Verdict.NO_EVENTS
    if log_e >= log(SPLIT_LIMIT):
        verdict = Verdict.INVALID
    promised = sum((e.canary.drawn + e.stable.drawn) * bp / FULL_BP for bp, e in epochs.items())
    seen = sum(epoch.canary.drawn for epoch in epochs.values())
    sentence = sentences.of_split(evidence.canary, seen, promised, valid=verdict is not Verdict.INVALID)
    return Finding(SPLIT, verdict, log_e, None, sentence, {"canary_drawn": seen, "canary_promised": promised})


WORSE_VERDICTS = frozenset({Verdict.REGRESSED, Verdict.INCONCLUSIVE_WORSE})


def log_limit(policy: Policy, guardrail: Guardrail) -> float:
    """What the guardrail needs on its own; one that does not turn back takes no share, and gives none."""
    share = share_of(policy, guardrail) if guardrail.turns_back else 1.0
    return log(1.0 / (policy.alpha_rollback * share))


def verdict_of(policy: Policy, guardrail: Guardrail, worse: float, not_worse: float | None, answers: int) -> Verdict:
    """What the two directions of evidence come to, as logarithms.

    Args:
        answers: How many of the canary's were judged.
    """
    if worse >= log_limit(policy, guardrail):
        return Verdict.REGRESSED
    if worse >= log(policy.freeze_at):
        return Verdict.INCONCLUSIVE_WORSE
    if not answers:
        return Verdict.NO_EVENTS
    if not_worse is not None and not_worse >= log(1.0 / policy.alpha_promotion) and worse < log(policy.thaw_below):
        return Verdict.HEALTHY
    return Verdict.INSUFFICIENT_DATA if answers < MIN_ANSWERS else Verdict.INCONCLUSIVE_HEALTHY


def numbers_of(seen: Rates | None, **bounds: float | None) -> Mapping[str, float]:
    """Rates and bounds for display; what is None is left out."""
    numbers = {} if seen is None else {"canary_rate": seen.canary, "stable_rate": seen.stable, "extra": seen.extra}
    return {**numbers, **{name: bound for name, bound in bounds.items() if bound is not None}}
