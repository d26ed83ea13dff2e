"""What people read about labelled quality. The rule is that of `sentences`."""

from collections.abc import Mapping

from app.domain.catalog.declarations import QualityKind
from app.domain.catalog.policy import Guardrail
from app.domain.evidence.cohort import Cohort
from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.sentences import CLOSINGS, percent

_NAMES = {
    QualityKind.ACCURACY: "Wrong answers by {name}",
    QualityKind.PRECISION: "False alarms by {name}",
    QualityKind.RECALL: "Missed positives by {name}",
    QualityKind.F1: "Losses by {name}",
    QualityKind.EVENT: "Answers without {name}",
}


def of_no_cohort(evidence: Evidence, guardrail: Guardrail) -> str:
    """Why labels are not judged."""
    if evidence.per_caller:
        return "Labels are not judged: callers keep their arm, and a caller's exchanges are no draws of their own."
    return f"Labels are not judged: nothing called {guardrail.of or 'a measure of quality'} was declared at the start."


def of_quality(evidence: Evidence, cohort: Cohort, verdict: Verdict, numbers: Mapping[str, float]) -> str:
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


def with_uneven(sentence: str, evidence: Evidence) -> str:
    """What it means that one version is labelled more often than the coin explains."""
    return (
        f"{sentence} Labels come more often for one of {evidence.canary} and {evidence.stable} than their weights"
        f" explain: nothing is proven by them."
    )


def only_one_says_so(evidence: Evidence, cohort: Cohort, source: str) -> str:
    """Why harm that is proven does not turn back."""
    return f"only {source} says that {evidence.canary} is worse by {cohort.metric.name}; without it nothing is proven"
