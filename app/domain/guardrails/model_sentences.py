"""What people read about the model's answers: costs, flaws, slices. The rule is that of `sentences`."""

from collections.abc import Mapping
from typing import Final

from app.domain.catalog.policy import Guardrail
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.observed import Flaw
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.learnt_signature import Strange
from app.domain.guardrails.output_collapse import Variety
from app.domain.guardrails.sentences import CLOSINGS, percent

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
