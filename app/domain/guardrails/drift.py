"""Inputs and predictions of both versions, side by side: a fault of routing, or another model.

Rule: the coin allows no difference of inputs, so one voids the comparison; predictions may differ, and
alone turn nothing back unless the policy says so. A difference counts only where it is large and proven.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import log

from app.domain.catalog.declarations import PREDICTIONS
from app.domain.catalog.policy import Guardrail, Metric, OnRegression
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.finding import Cause, Finding, Verdict
from app.domain.guardrails.kind import GuardrailKind, Terms
from app.domain.guardrails.split import SPLIT_LIMIT
from app.domain.stats.categories import categories_of, counted, shared_level
from app.domain.stats.e_bh import discoveries
from app.domain.stats.eprocess import log_weighted_mean
from app.domain.stats.histogram import Histogram, Spread
from app.domain.stats.homogeneity import CategoryEpoch, log_e_drift, shift, stability_by_chance

# Predictions may be this much more or less frequent and are called alike.
TOLERANCE = 0.25
FALSE_DISCOVERIES = 0.1


@dataclass(frozen=True, slots=True)
class Differing:
    """How one distribution differs between the arms.

    Attributes:
        log_e: Evidence that it does, by more than its tolerance.
        stability: PSI of the canary about stable, in nats, less what chance alone makes of it; may be below 0.
            None while one of them has none.
        divergence: Jensen-Shannon, in nats; None likewise.
    """

    name: str
    log_e: float
    stability: float | None
    divergence: float | None


@once_per_evidence
def inputs_differing(evidence: Evidence) -> tuple[Differing, ...]:
    """Every watched feature of which it is known what is usual."""
    usual = evidence.of_model.usual.features
    names = sorted(usual.keys() & {name for spread in _arms(evidence) for name in spread.features})
    found = (_differing(evidence, name, usual[name], _feature(name), 0.0) for name in names)
    return tuple(each for each in found if each is not None)


def _feature(name: str) -> Callable[[Spread], Histogram]:
    return lambda spread: spread.features.get(name, Histogram())


@once_per_evidence
def predictions_differing(evidence: Evidence) -> Differing | None:
    """The predictions; None where nobody knows what is usual, or nothing was predicted."""
    return _differing(
        evidence, PREDICTIONS, evidence.of_model.usual.predictions, lambda spread: spread.predictions, TOLERANCE
    )


def all_differing(evidence: Evidence) -> tuple[Differing, ...]:
    """Predictions, where they are known, and every watched feature."""
    predictions = predictions_differing(evidence)
    return (*(() if predictions is None else (predictions,)), *inputs_differing(evidence))


def _arms(evidence: Evidence) -> Iterator[Spread]:
    for epoch in evidence.of_model.spreads.values():
        yield epoch.canary
        yield epoch.stable


def _differing(
    evidence: Evidence, name: str, usual: Histogram, of: Callable[[Spread], Histogram], tolerance: float
) -> Differing | None:
    categories = categories_of(usual)
    if categories is None:
        return None
    both = {bp: epoch for bp, epoch in sorted(evidence.of_model.spreads.items()) if 0 < bp < FULL_BP}
    level = shared_level(categories, (of(arm) for epoch in both.values() for arm in (epoch.canary, epoch.stable)))
    epochs = [
        CategoryEpoch(
            bp / FULL_BP, counted(categories, of(epoch.canary), level), counted(categories, of(epoch.stable), level)
        )
        for bp, epoch in both.items()
    ]
    far = shift(epochs)
    return Differing(
        name,
        log_e_drift(epochs, tolerance),
        None if far is None else far.population_stability - stability_by_chance(epochs),
        None if far is None else far.jensen_shannon,
    )


def judge_inputs(evidence: Evidence) -> Finding | None:  # ADR 0104
    """Whether both versions are asked the same; a test of trust, as the split is. None where no input is watched."""
    differing = inputs_differing(evidence)
    if not differing:
        return None
    log_e = log_weighted_mean((1.0 / len(differing), each.log_e) for each in differing)
    worst = max(differing, key=lambda each: each.log_e)
    numbers = {"inputs": float(len(differing)), "standing_out": float(len(standing_out(evidence)))}
    if worst.stability is not None:
        numbers["worst_psi"] = worst.stability
    if log_e < log(SPLIT_LIMIT):
        sentence = f"Inputs: {len(differing):,} watched, alike for {evidence.canary} and {evidence.stable}."
        return Finding(Cause.INPUTS, Verdict.HEALTHY, log_e, None, sentence, numbers)
    sentence = (
        f"{evidence.canary} is not asked what {evidence.stable} is asked: {worst.name} differs, which a coin cannot "
        f"do; something routes by it or changes it on the way."
    )
    return Finding(Cause.INPUTS, Verdict.INVALID, log_e, None, sentence, numbers)


def standing_out(evidence: Evidence) -> tuple[Differing, ...]:
    """The inputs that differ, for lists that alert; false ones are a tenth of them at most, on average."""
    differing = inputs_differing(evidence)
    places = discoveries([each.log_e for each in differing], FALSE_DISCOVERIES) if differing else ()
    return tuple(differing[place] for place in places)


def judge_drift(evidence: Evidence, terms: Terms) -> Finding:
    """Predictions that differ by more than the floor, and provably."""
    differing = predictions_differing(evidence)
    if differing is None or differing.stability is None:
        return terms.nothing(f"Predictions are not compared: it is not known what {evidence.stable} usually predicts.")
    _, floor = terms.guardrail.margins
    is_far = differing.stability >= floor
    log_e = differing.log_e if is_far else min(differing.log_e, 0.0)
    verdict = Verdict.REGRESSED if log_e >= terms.log_limit else Verdict.INCONCLUSIVE_HEALTHY
    says = "predicts otherwise than" if verdict is Verdict.REGRESSED else "predicts, as far as can be told, much as"
    sentence = (
        f"{evidence.canary} {says} {evidence.stable} at the same weights: PSI {differing.stability:.2g}, "
        f"{floor:g} is called far."
    )
    return terms.finding(evidence, verdict, (log_e, None), sentence, _numbers(differing))


def _numbers(differing: Differing) -> Mapping[str, float]:
    found = {"psi": differing.stability, "jensen_shannon": differing.divergence}
    return {name: value for name, value in found.items() if value is not None}


KIND = GuardrailKind(
    # A new version may predict differently: who names drift is told, and who means more says so.
    usual=Guardrail(Metric("drift"), on_regression=OnRegression.WARN, floor=0.2),
    ranges={"floor": (0.0, 10.0)},
    share=0.05,
    judge=judge_drift,
    is_proven=False,
)
