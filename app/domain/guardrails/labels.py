"""Labelled quality: what turns a version back although every answer says 200.

Rule: only matured cohorts are compared, under the coin; unequal coverage proves nothing, and where several
sources label, no single one decides: the evidence is what is left without any one of them.

Harm is weighed as in `slice_evidence`: half P1 with the losses in place of bad answers, half P2 about the reference.
Where more than half is usually lost P1 is asked the other way round, whether less is right: what is rarer says
more by itself. Of precision and F1 it is the smaller of "wrong more often" and "right less often". That it is not
worse is proven by P2 on the linearised loss y = a - m b + m, m the reference: its mean differs by the loss ratio's
difference times the mean of b, which of precision and F1 is taken as stable's observed one (exact in the limit of
many labels).

Source: `evidence`, `score`; faults of single sources by leaving each out, as Huber's gross errors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from app.domain.catalog.policy import Guardrail, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.cohort import Cohort, LossSums
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.loss import mean_loss, shown
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails import label_sentences, sentences
from app.domain.guardrails.coverage import labelled_alike
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.limits import LEAST_WEIGHT, Margin, log_limit, margin_of, verdict_of
from app.domain.stats.eprocess import BETTER, WORSE
from app.domain.stats.eprocess_batch import ManyOutcomes, log_e_tilt_of_many
from app.domain.stats.harm import of_halves
from app.domain.stats.score import ScoreEpoch, Sums, increments, log_e_not_worse, log_e_worse, scale_worse, scaled

_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Losses:
    """Both arms' sums at one weight in basis points."""

    weight_bp: int
    canary: LossSums
    stable: LossSums


@dataclass(frozen=True, slots=True)
class Weighed:
    """Both directions of evidence, as logarithms."""

    worse: float
    not_worse: float


def judge_labels(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Finding:
    """One measure of quality on matured cohorts."""
    metric = guardrail.metric
    cohort = evidence.of_model.cohorts.get(guardrail.of or "")
    if cohort is None or evidence.per_caller:
        sentence = label_sentences.of_no_cohort(evidence, guardrail)
        return Finding(metric, Verdict.NO_EVENTS, None, None, sentence, dry_run=guardrail.dry_run)
    everything = losses_of(cohort)
    labelled = int(sum(each.canary.n for each in everything))
    covered = labelled_alike(cohort)
    whole = _weigh(everything, cohort, policy, guardrail)
    robust, alone = _without_any_one(cohort, whole, policy, guardrail)
    worse, not_worse = covered.harm(robust.worse), covered.proof(robust.not_worse)
    verdict = verdict_of(policy, guardrail, worse, not_worse, labelled)
    held = None
    if alone is not None and covered.harm(whole.worse) >= log_limit(policy, guardrail) > worse:
        verdict, held = Verdict.INCONCLUSIVE_WORSE, label_sentences.only_one_says_so(evidence, cohort, alone)
    numbers = _numbers(cohort, everything)
    sentence = label_sentences.of_quality(evidence, cohort, verdict, numbers)
    if covered.is_uneven:
        sentence = label_sentences.with_uneven(sentence, evidence)
    if held is not None:
        sentence = f"{sentence} {held}."
    sentence = sentences.with_consequence(sentence, evidence.canary, guardrail, verdict)
    return Finding(metric, verdict, worse, not_worse, sentence, numbers, dry_run=guardrail.dry_run, held_because=held)


@once_per_evidence
def losses_of(cohort: Cohort, without: str | None = None) -> tuple[Losses, ...]:
    """Both arms' sums by weight, as if one source had said nothing."""
    return tuple(
        Losses(weight_bp, epoch.canary.total(without), epoch.stable.total(without))
        for weight_bp, epoch in sorted(cohort.by_weight.items())
        if 0 < weight_bp < FULL_BP
    )


def _without_any_one(
    cohort: Cohort, whole: Weighed, policy: Policy, guardrail: Guardrail
) -> tuple[Weighed, str | None]:
    """The least that is left without one source, and the source that the harm hangs on; None with one source."""
    sources = cohort.sources
    if len(sources) < 2:
        return whole, None
    left = {source: _weigh(losses_of(cohort, source), cohort, policy, guardrail) for source in sources}
    hangs_on = min(left, key=lambda source: left[source].worse)
    return Weighed(left[hangs_on].worse, min(each.not_worse for each in left.values())), hangs_on


def _weigh(losses: Sequence[Losses], cohort: Cohort, policy: Policy, guardrail: Guardrail) -> Weighed:
    margin = _margin(cohort.reference, policy, guardrail)
    epochs = list(_linear(losses, cohort.reference))
    totals = scaled(increments(epochs, cohort.reference), margin.proof_step)
    not_worse = log_e_not_worse(totals, margin.delta * _share_eligible(losses), margin.rho, margin.proof_step)
    if cohort.metric.chooses_its_own:
        return Weighed(min(_more_wrong(losses), _fewer_right(losses)), not_worse)
    # What is rarer says more by itself; which it is was known before the start.
    of_rarer = _more_wrong(losses) if cohort.reference <= _EVEN else _fewer_right(losses)
    scale = scale_worse(cohort.reference, LEAST_WEIGHT, policy.max_weight_bp / FULL_BP)
    unscaled = scaled(increments(epochs, cohort.reference), inf)
    by_score = log_e_worse(unscaled, 0.0, margin.rho, scale)
    return Weighed(of_halves(of_rarer, by_score), not_worse)


def _margin(reference: float, policy: Policy, guardrail: Guardrail) -> Margin:
    """Relative to what is rarer, wrong or right: of an event after one answer in ten not nine tenths may be lost."""
    margin = margin_of(reference, policy, guardrail)
    of_rarer = margin_of(min(reference, 1.0 - reference), policy, guardrail)
    return replace(margin, delta=of_rarer.delta, rho=of_rarer.rho)


def _more_wrong(losses: Sequence[Losses]) -> float:
    return _tilted(losses, lambda sums: sums.a, WORSE)


def _fewer_right(losses: Sequence[Losses]) -> float:
    return _tilted(losses, _right, BETTER)


def _tilted(losses: Sequence[Losses], count: Callable[[LossSums], float], ratios: tuple[float, ...]) -> float:
    """P1 of what is counted of both arms, alone; losses between 0 and 1 count as parts of one."""
    if not losses:
        return 0.0
    canary = [[count(each.canary)] for each in losses]
    stable = [[count(each.stable)] for each in losses]
    nothing = [[0.0]] * len(losses)
    counts = np.array((canary, stable, nothing, nothing))
    (log_e,) = log_e_tilt_of_many(ManyOutcomes(tuple(each.weight_bp / FULL_BP for each in losses), counts), ratios)
    return log_e


def _right(sums: LossSums) -> float:
    return max(0.0, sums.b - sums.a)


def _linear(losses: Sequence[Losses], m: float) -> Iterator[ScoreEpoch]:
    """The sums of y = a - m b + m, in [0, 1] as 0 <= a <= b <= 1."""
    for each in losses:
        if each.stable.n:
            arms = (_sums(each.canary, m), _sums(each.stable, m))
            yield ScoreEpoch(each.weight_bp / FULL_BP, *arms, each.canary.n + each.stable.n)


def _sums(sums: LossSums, m: float) -> Sums:
    n, a, b, aa, ab, bb = sums
    total = min(max(a - m * b + m * n, 0.0), n)
    squares = aa - 2.0 * m * ab + m * m * bb + 2.0 * m * (a - m * b) + m * m * n
    # Rounding must not make sums that nothing has.
    return Sums(n, total, min(max(squares, total * total / n if n else 0.0), total))


def _share_eligible(losses: Sequence[Losses]) -> float:
    n = sum(each.stable.n for each in losses)
    return sum(each.stable.b for each in losses) / n if n else 1.0


def _numbers(cohort: Cohort, losses: Sequence[Losses]) -> Mapping[str, float]:
    """Losses standardised to the canary's mix of weights, coverage, and the metric in its own unit."""
    both = [each for each in losses if each.canary.b > 0.0 and each.stable.b > 0.0]
    numbers = {
        "canary_labelled": sum(each.canary.n for each in losses),
        "stable_labelled": sum(each.stable.n for each in losses),
        **_coverage(cohort),
    }
    weight = sum(each.canary.b for each in both)
    if not weight:
        return numbers
    canary = sum(each.canary.a for each in both) / weight
    stable = sum(each.canary.b * (mean_loss(each.stable) or 0.0) for each in both) / weight
    return {
        **numbers,
        "canary_rate": canary,
        "stable_rate": stable,
        "extra": (canary - stable) * weight,
        "canary_shown": shown(cohort.metric, canary),
        "stable_shown": shown(cohort.metric, stable),
    }


def _coverage(cohort: Cohort) -> Mapping[str, float]:
    epochs = [epoch for weight_bp, epoch in cohort.by_weight.items() if 0 < weight_bp < FULL_BP]
    arms = {"canary": [epoch.canary for epoch in epochs], "stable": [epoch.stable for epoch in epochs]}
    drawn = {name: sum(arm.drawn for arm in of) for name, of in arms.items()}
    return {
        f"{name}_coverage": sum(arm.labelled for arm in of) / drawn[name] for name, of in arms.items() if drawn[name]
    }


def waits_s(evidence: Evidence, policy: Policy) -> float:
    """How long the labels that promotion waits for take to come; 0.0 where it waits for none."""
    cohorts = evidence.of_model.cohorts
    waited = (cohorts.get(each.of or "") for each in policy.guardrails if each.is_waited_for)
    return max((cohort.metric.horizon_s for cohort in waited if cohort is not None), default=0.0)
