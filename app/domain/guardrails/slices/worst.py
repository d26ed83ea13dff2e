"""The worst of the declared slices: a fault that the whole hides, found and named.

Rule: every slice and metric that can exist has the same share of the evidence from the start, seen or not, so that
slices may appear at any time and none is chosen because of what it says.

Source: Vovk & Wang 2021 for the average; Wang & Ramdas 2022 (e-BH) for the list of those that stand out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

from app.domain.catalog.declarations import QualityKind
from app.domain.catalog.models import Model
from app.domain.catalog.policy import Guardrail, Metric
from app.domain.evidence.estimates import BAD, JUDGED, Rates, drawn_by_coin, rates
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.finding import WORSE_VERDICTS, Finding, Verdict
from app.domain.guardrails.kind import GuardrailKind, Terms
from app.domain.guardrails.phrases import closing, not_read, percent
from app.domain.guardrails.slices.evidence import ERRORS, Compared, compared_slices, hypotheses
from app.domain.stats.e_bh import discoveries
from app.domain.stats.eprocess import log_sum_exp
from app.errors import InvalidInput

# Largest expected share of false ones among the slices that are listed as standing out.
FALSE_DISCOVERIES = 0.1
_LOSSES = {
    QualityKind.ACCURACY: "wrong answers",
    QualityKind.PRECISION: "false alarms",
    QualityKind.RECALL: "missed positives",
    QualityKind.F1: "wrong answers, counted half,",
    QualityKind.EVENT: "answers without it",
}


@dataclass(frozen=True, slots=True)
class _Together:
    """All slices.

    Attributes:
        log_e: Of the average over everything that can exist; what was not seen counts for 1.
        worst: The one that weighs most in it.
    """

    log_e: float
    worst: Compared
    answers: int


def judge_slices(evidence: Evidence, terms: Terms) -> Finding:
    """Slices by errors, flawed answers and labels together: turned back by their average; nothing to prove."""
    together = _together(evidence)
    if together is None:
        return terms.nothing(f"Slices are not judged: {_why_not(evidence)}.")
    worst = together.worst
    verdict = terms.verdict(together.log_e, None, together.answers)
    numbers = {
        "slices": float(len({each.slice for each in compared_slices(evidence)})),
        "hypotheses": float(hypotheses(evidence)),
        "standing_out": float(len(standing_out(evidence))),
        **_numbers(worst),
    }
    is_worse = verdict in WORSE_VERDICTS
    if is_worse:
        sentence = _one(evidence, worst, verdict, rates(drawn_by_coin(evidence), BAD, JUDGED))
    else:
        sentence = _all(evidence, numbers, verdict)
    found = worst.slice if is_worse else None
    return terms.finding(evidence, verdict, (together.log_e, None), sentence, numbers, slice=found)


def standing_out(evidence: Evidence) -> tuple[Compared, ...]:
    """Slices and metrics that stand out together, the heaviest first; for lists that alert and never act."""
    compared = compared_slices(evidence)
    unseen = [0.0] * max(0, hypotheses(evidence) - len(compared))
    places = discoveries([*(each.log_e for each in compared), *unseen], FALSE_DISCOVERIES)
    return tuple(sorted((compared[place] for place in places), key=_weight, reverse=True))


def _weight(compared: Compared) -> float:
    return compared.log_e


@once_per_evidence
def _together(evidence: Evidence) -> _Together | None:
    """None where nothing was seen of any slice."""
    compared = compared_slices(evidence)
    if not compared:
        return None
    every = max(hypotheses(evidence), len(compared))
    logs = [each.log_e for each in compared]
    if every > len(compared):
        logs.append(log(every - len(compared)))
    worst = max(compared, key=_weight)
    return _Together(log_sum_exp(logs) - log(every), worst, max(each.canary_n for each in compared))


def _numbers(worst: Compared) -> dict[str, float]:
    numbers = {"worst_log_e": worst.log_e, "worst_canary_n": worst.canary_n, "worst_stable_n": worst.stable_n}
    if worst.canary_rate is not None and worst.stable_rate is not None:
        numbers |= {"canary_rate": worst.canary_rate, "stable_rate": worst.stable_rate}
        numbers["extra"] = (worst.canary_rate - worst.stable_rate) * worst.canary_n
    return numbers


def _why_not(evidence: Evidence) -> str:
    return not_read(evidence) if evidence.of_model.slice_keys else "the model declares no slice keys"


def _all(evidence: Evidence, numbers: Mapping[str, float], verdict: Verdict) -> str:
    """All slices, while none of them looks worse."""
    count = int(numbers["slices"])
    return f"{evidence.canary} in {count:,} slice{'s' if count != 1 else ''}{closing(verdict, is_proven=False)}."


def _one(evidence: Evidence, worst: Compared, verdict: Verdict, overall: Rates | None) -> str:
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
        return "errors" if worst.metric == ERRORS else "flawed answers"
    return f"{_LOSSES.get(worst.kind, 'a mean loss')} by {worst.metric}"


def _amount(worst: Compared, rate: float) -> str:
    return percent(rate) if worst.kind is None or worst.kind in _LOSSES else f"{rate:.3g}"


def _completed(guardrail: Guardrail, model: Model, field: str) -> Guardrail:
    if not model.slices:
        raise InvalidInput(field, f"model {model.name} declares no slices")
    return guardrail


KIND = GuardrailKind(
    usual=Guardrail(Metric("slices")),
    share=0.20,
    judge=judge_slices,
    is_proven=False,
    is_usual=lambda model: bool(model.slices),
    completed=_completed,
)
