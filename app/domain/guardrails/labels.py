"""Labelled quality: what turns a version back although every answer says 200.

Rule: only matured cohorts are compared, under the coin; unequal coverage proves nothing, and where several
sources label, no single one decides: the evidence is what is left without any one of them.

Harm is weighed as of a slice: half P1 with the losses in place of bad answers, half P2 about the reference.
Where more than half is usually lost P1 is asked the other way round, whether less is right: what is rarer says
more by itself. Of precision and F1 it is the smaller of "wrong more often" and "right less often". That it is not
worse is proven by P2 on the linearised loss y = a - m b + m, m the reference: its mean differs by the loss ratio's
difference times the mean of b, which of precision and F1 is taken as stable's observed one (exact in the limit of
many labels).

Source: `eprocess`, `score`; faults of single sources by leaving each out, as Huber's gross errors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from app.domain.catalog.declarations import QualityKind
from app.domain.catalog.models import Model
from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.cohort import Cohort, LossSums
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.loss import mean_loss, shown
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.kind import GuardrailKind, Terms
from app.domain.guardrails.phrases import CLOSINGS, percent
from app.domain.guardrails.rates import LEAST_WEIGHT, Margin, margin_of
from app.domain.guardrails.split import labelled_alike
from app.domain.stats.eprocess import BETTER, WORSE
from app.domain.stats.eprocess_batch import ManyOutcomes, log_e_tilt_of_many
from app.domain.stats.harm import of_halves
from app.domain.stats.score import ScoreEpoch, Sums, increments, log_e_not_worse, log_e_worse, scale_worse, scaled
from app.errors import InvalidInput

_EVEN = 0.5
_NAMES = {
    QualityKind.ACCURACY: "Wrong answers by {name}",
    QualityKind.PRECISION: "False alarms by {name}",
    QualityKind.RECALL: "Missed positives by {name}",
    QualityKind.F1: "Losses by {name}",
    QualityKind.EVENT: "Answers without {name}",
}


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


def judge_labels(evidence: Evidence, terms: Terms) -> Finding:
    """One measure of quality on matured cohorts."""
    cohort = evidence.of_model.cohorts.get(terms.guardrail.of or "")
    if cohort is None or evidence.per_caller:
        return terms.nothing(_of_no_cohort(evidence, terms.guardrail))
    everything = losses_of(cohort)
    labelled = int(sum(each.canary.n for each in everything))
    covered = labelled_alike(cohort)
    whole = _weigh(everything, cohort, terms)
    robust, alone = _without_any_one(cohort, whole, terms)
    worse, not_worse = covered.harm(robust.worse), covered.proof(robust.not_worse)
    verdict = terms.verdict(worse, not_worse, labelled)
    held = None
    if alone is not None and covered.harm(whole.worse) >= terms.log_limit > worse:
        verdict, held = Verdict.INCONCLUSIVE_WORSE, _only_one_says_so(evidence, cohort, alone)
    numbers = _numbers(cohort, everything)
    sentence = _of_quality(evidence, cohort, verdict, numbers)
    if covered.is_uneven:
        sentence = _with_uneven(sentence, evidence)
    if held is not None:
        sentence = f"{sentence} {held}."
    return terms.finding(evidence, verdict, (worse, not_worse), sentence, numbers, held_because=held)


@once_per_evidence
def losses_of(cohort: Cohort, without: str | None = None) -> tuple[Losses, ...]:
    """Both arms' sums by weight, as if one source had said nothing."""
    return tuple(
        Losses(weight_bp, epoch.canary.total(without), epoch.stable.total(without))
        for weight_bp, epoch in sorted(cohort.by_weight.items())
        if 0 < weight_bp < FULL_BP
    )


def _without_any_one(cohort: Cohort, whole: Weighed, terms: Terms) -> tuple[Weighed, str | None]:  # ADR 0098
    """The least that is left without one source, and the source that the harm hangs on; None with one source."""
    sources = cohort.sources
    if len(sources) < 2:
        return whole, None
    left = {source: _weigh(losses_of(cohort, source), cohort, terms) for source in sources}
    hangs_on = min(left, key=lambda source: left[source].worse)
    return Weighed(left[hangs_on].worse, min(each.not_worse for each in left.values())), hangs_on


def _weigh(losses: Sequence[Losses], cohort: Cohort, terms: Terms) -> Weighed:
    margin = _margin(cohort.reference, terms)
    epochs = list(_linear(losses, cohort.reference))
    totals = scaled(increments(epochs, cohort.reference), margin.proof_step)
    not_worse = log_e_not_worse(totals, margin.delta * _share_eligible(losses), margin.rho, margin.proof_step)
    if cohort.metric.chooses_its_own:
        return Weighed(min(_more_wrong(losses), _fewer_right(losses)), not_worse)
    # What is rarer says more by itself; which it is was known before the start.
    of_rarer = _more_wrong(losses) if cohort.reference <= _EVEN else _fewer_right(losses)
    scale = scale_worse(cohort.reference, LEAST_WEIGHT, terms.policy.max_weight_bp / FULL_BP)
    unscaled = scaled(increments(epochs, cohort.reference), inf)
    by_score = log_e_worse(unscaled, 0.0, margin.rho, scale)
    return Weighed(of_halves(of_rarer, by_score), not_worse)


def _margin(reference: float, terms: Terms) -> Margin:
    """Relative to what is rarer, wrong or right: of an event after one answer in ten not nine tenths may be lost."""
    margin = margin_of(reference, terms.policy, terms.guardrail)
    of_rarer = margin_of(min(reference, 1.0 - reference), terms.policy, terms.guardrail)
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


def waits_s(evidence: Evidence, policy: Policy) -> float:  # ADR 0099
    """How long the labels that promotion waits for take to come; 0.0 where it waits for none."""
    cohorts = evidence.of_model.cohorts
    waited = (cohorts.get(each.of or "") for each in policy.guardrails if each.is_waited_for)
    return max((cohort.metric.horizon_s for cohort in waited if cohort is not None), default=0.0)


def _of_no_cohort(evidence: Evidence, guardrail: Guardrail) -> str:
    """Why labels are not judged."""
    if evidence.per_caller:
        return "Labels are not judged: callers keep their arm, and a caller's exchanges are no draws of their own."
    return f"Labels are not judged: nothing called {guardrail.of or 'a measure of quality'} was declared at the start."


def _of_quality(evidence: Evidence, cohort: Cohort, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """Both arms' losses on labels that are old enough."""
    metric, canary, stable = cohort.metric, evidence.canary, evidence.stable
    if "canary_rate" not in numbers:
        return (
            f"Labels by {metric.name}: none of {canary}'s answers is old enough and labelled yet"
            f" ({metric.horizon_s:,.0f} s are waited for one)."
        )
    of = (
        f"of {numbers['canary_labelled']:,.0f} labelled answers of {canary}, "
        f"of {numbers['stable_labelled']:,.0f} of {stable}"
    )
    closing = CLOSINGS[verdict]
    if metric.kind in _NAMES:
        rates = f"{percent(numbers['canary_rate'])} for {canary}, {percent(numbers['stable_rate'])} for {stable}"
        return f"{_NAMES[metric.kind].format(name=metric.name)} {rates} at the same weights, {of}{closing}."
    rates = f"{numbers['canary_shown']:.4g} for {canary}, {numbers['stable_shown']:.4g} for {stable}"
    return f"{metric.name} {rates} at the same weights, {of}{closing}."


def _with_uneven(sentence: str, evidence: Evidence) -> str:
    """What it means that one version is labelled more often than the coin explains."""
    return (
        f"{sentence} Labels come more often for one of {evidence.canary} and {evidence.stable} than their weights"
        f" explain: nothing is proven by them."
    )


def _only_one_says_so(evidence: Evidence, cohort: Cohort, source: str) -> str:
    """Why harm that is proven does not turn back."""
    return f"only {source} says that {evidence.canary} is worse by {cohort.metric.name}; without it nothing is proven"


def _completed(guardrail: Guardrail, model: Model, field: str) -> Guardrail:
    """Naming its measure, the model's first if it says nothing."""
    if model.feedback is None:
        raise InvalidInput(field, f"model {model.name} declares no feedback")
    of = guardrail.of or model.feedback.metrics[0].name
    if model.feedback.metric(of) is None:
        raise InvalidInput(f"{field}/of", f"model {model.name} declares no metric {of!r}")
    return replace(guardrail, of=of)


KIND = GuardrailKind(
    usual=Guardrail(Metric("labels"), margin=0.1, floor=0.02),
    ranges={"margin": (0.0, 100.0), "floor": (1e-5, 0.5)},
    share=0.25,
    judge=judge_labels,
    is_usual=lambda model: model.feedback is not None,
    completed=_completed,
    takes_of=True,
)
