"""What people read about the model's answers: costs, flaws, slices. The rule is that of `sentences`."""

from collections.abc import Mapping
from typing import Final

from app.domain.catalog.declarations import QualityKind
from app.domain.catalog.policy import Guardrail, Metric
from app.domain.evidence.estimates import Rates
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.observed import Flaw
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.learnt_signature import Strange
from app.domain.guardrails.output_collapse import Variety
from app.domain.guardrails.sentences import CLOSINGS, percent
from app.domain.guardrails.slices.evidence import Compared

NO_COST: Final = (
    "Cost is not judged: no answer of {canary} or of {stable} has a price; versions are registered with prices."
)
NOTHING_READ: Final = "nothing of {canary}'s answers has been read yet"
PER_CALLER: Final = "callers keep their arm, and what one of them meets again and again is no draw"
_FLAWS = {
    Flaw.NONFINITE: "with numbers that are none",
    Flaw.SCHEMA: "not as declared",
    Flaw.EMPTY: "empty",
    Flaw.REFUSED: "refused",
    Flaw.STREAM: "with a stream that ended badly",
}
_LOSSES = {
    QualityKind.ACCURACY: "wrong answers",
    QualityKind.PRECISION: "false alarms",
    QualityKind.RECALL: "missed positives",
    QualityKind.F1: "wrong answers, counted half,",
    QualityKind.EVENT: "answers without it",
}


def money(amount: float) -> str:
    """An amount in the currency of the prices, three significant digits: 0.00123, or 1,230 for 1234.5."""
    return f"{float(f'{amount:.3g}'):,.12g}"


def of_cost(evidence: Evidence, guardrail: Guardrail, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """Both arms' mean costs, and what may be."""
    if "canary_cost" not in numbers:
        return f"Cost: no answer of {evidence.stable} has a price to compare with at the same weights yet."
    margin, floor = guardrail.margins
    allowed = f"{margin * 100:g} % and {money(floor)}" if floor else f"{margin * 100:g} %"
    return (
        f"An answer costs {money(numbers['canary_cost'])} from {evidence.canary}, {money(numbers['stable_cost'])} from "
        f"{evidence.stable} at the same weights, {allowed} more may be{CLOSINGS[verdict]}."
    )


def with_uneven(sentence: str, evidence: Evidence, what: str, *, uneven: bool) -> str:
    """What it means that more is known of one arm than the coin explains."""
    if not uneven:
        return sentence
    return (
        f"{sentence} {what} more often of one of {evidence.canary} and {evidence.stable} than their weights explain: "
        f"nothing is proven by it."
    )


def of_nothing_read(evidence: Evidence) -> str:
    """Why validity is not judged."""
    why = PER_CALLER if evidence.per_caller else NOTHING_READ.format(canary=evidence.canary)
    return f"Validity is not judged: {why}."


def of_flaws(evidence: Evidence, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """Flawed answers of both arms, and what is wrong with the canary's."""
    if "canary_rate" not in numbers:
        return f"Flawed answers: {evidence.stable} has given none to compare with at the same weights yet."
    kinds = {_FLAWS[flaw]: numbers[f"canary_{flaw}"] for flaw in Flaw if f"canary_{flaw}" in numbers}
    named = ", ".join(f"{count:,.0f} {kind}" for kind, count in kinds.items())
    return (
        f"Flawed answers {percent(numbers['canary_rate'])} for {evidence.canary}, "
        f"{percent(numbers['stable_rate'])} for {evidence.stable} at the same weights"
        f"{f' ({named})' if named else ''}{CLOSINGS[verdict]}."
    )


def of_sameness(evidence: Evidence, varied: Variety, verdict: Verdict) -> str:
    """The output that swallowed the others."""
    says = "is proven to predict hardly anything but" if verdict is Verdict.REGRESSED else "predicts, as it seems, only"
    return (
        f"{evidence.canary} {says} {varied.output}: in {percent(varied.canary_share)} of its answers, "
        f"{percent(varied.stable_share)} of {evidence.stable}'s at the same weights."
    )


def of_strangeness(evidence: Evidence, found: Strange, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """What the canary predicts and stable never did."""
    says = "is proven to predict what" if verdict is Verdict.REGRESSED else "predicts, as it seems, what"
    shares = ""
    if "canary_strange" in numbers:
        shares = (
            f", in {percent(numbers['canary_strange'])} of its answers, {percent(numbers['stable_strange'])} of "
            f"{evidence.stable}'s at the same weights"
        )
    return (
        f"{evidence.canary} {says} {evidence.stable} never did, mostly {found.what}{shares}; "
        f"a version that means to is registered with a signature."
    )


def with_variety_wanted(sentence: str, evidence: Evidence) -> str:
    """What promotion still waits for, besides sound answers."""
    return f"{sentence} That {evidence.canary} predicts different things, as {evidence.stable} does, is not proven yet."


def with_familiarity_wanted(sentence: str, evidence: Evidence) -> str:
    """What promotion still waits for, besides sound answers."""
    return f"{sentence} That {evidence.canary} predicts only what {evidence.stable} does is not proven yet."


def of_no_slices(evidence: Evidence) -> str:
    """Why no slice is judged."""
    if not evidence.of_model.slice_keys:
        return "Slices are not judged: the model declares no slice keys."
    why = PER_CALLER if evidence.per_caller else NOTHING_READ.format(canary=evidence.canary)
    return f"Slices are not judged: {why}."


def of_slices(evidence: Evidence, numbers: Mapping[str, float], verdict: Verdict) -> str:
    """All slices, while none of them looks worse."""
    count = int(numbers["slices"])
    # Nothing is ever proven of each slice, and promotion does not wait for it.
    closing = ": nothing suspicious" if verdict is Verdict.INCONCLUSIVE_HEALTHY else CLOSINGS[verdict]
    return f"{evidence.canary} in {count:,} slice{'s' if count != 1 else ''}{closing}."


def of_slice(evidence: Evidence, worst: Compared, verdict: Verdict, overall: Rates | None) -> str:
    """The slice that looks worst, beside what the whole looks like."""
    canary, stable = evidence.canary, evidence.stable
    says = "is worse" if verdict is Verdict.REGRESSED else "looks worse, which is not proven,"
    sentence = f"{canary} {says} where {worst.slice.key}={worst.slice.value}: {_noun(worst)} "
    if worst.canary_rate is None or worst.stable_rate is None:
        # Bad answers speak by themselves where stable has not answered yet at the same weight.
        sentence += f"in {worst.canary_n:,} answers; {stable} has given {worst.stable_n:,}"
    else:
        sentence += (
            f"{_amount(worst, worst.canary_rate)} of {worst.canary_n:,}, "
            f"{_amount(worst, worst.stable_rate)} of {worst.stable_n:,} for {stable} at the same weights"
        )
    if overall is not None:
        sentence += f"; of all answers {percent(overall.canary)} and {percent(overall.stable)} are bad"
    return f"{sentence}."


def _noun(worst: Compared) -> str:
    if worst.kind is None:
        return "errors" if worst.metric == Metric.ERRORS else "flawed answers"
    return f"{_LOSSES.get(worst.kind, 'a mean loss')} by {worst.metric}"


def _amount(worst: Compared, rate: float) -> str:
    return percent(rate) if worst.kind is None or worst.kind in _LOSSES else f"{rate:.3g}"
