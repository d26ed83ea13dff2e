"""Predictions of a kind that stable never gave: the signature stable is known by, for a canary that declares none.

Rule: it is fixed by stable's predictions of before the start: numbers, texts, or these classes and no others. A class
too rare to have been seen then comes from both versions; so the canary is accused of what it says ten times as often.

Given that a prediction is strange, its arm is a coin: P1 in the worse direction about r0 = 10.

Source: the tilts of `eprocess`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.estimates import BadOf
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.split import Covered, coverage_of
from app.domain.stats.categories import REFERENCE_MIN
from app.domain.stats.eprocess import Outcomes, log_e_tilt
from app.domain.stats.histogram import LABELS_MAX, OTHER, Histogram

# Strange predictions may come so many times as often as from stable.
MOST_RATIO: Final = 10.0


@dataclass(frozen=True, slots=True)
class LearntSignature:  # ADR 0121
    """What stable predicts.

    Attributes:
        numbers: Whether it gives numbers.
        classes: The texts it gives; None where they are too many to be classes.
    """

    numbers: bool
    classes: frozenset[str] | None

    def strange(self, predicted: Histogram) -> Mapping[str, int]:
        """What stable never gives, as people read it, to its count. Missing ones and NaN are flaws of another kind."""
        found: dict[str, int] = {}
        if not self.numbers and predicted.bins:
            found["a number"] = sum(predicted.bins.values())
        if self.classes is not None:
            found |= {text: count for text, count in predicted.labels.items() if text not in self.classes}
        return found


@dataclass(frozen=True, slots=True)
class Strange:
    """What the predictions say.

    Attributes:
        log_e: Evidence that the canary's are strange more than MOST_RATIO times as often as stable's.
        epochs: By ascending weight.
        what: The canary's commonest strange prediction; empty where it gave none.
    """

    log_e: float
    epochs: tuple[BadOf, ...]
    what: str


def learnt(usual: Histogram) -> LearntSignature | None:
    """The signature of these predictions; None where they are too few, or nothing was predicted."""
    if usual.n < REFERENCE_MIN or not (usual.bins or usual.labels):
        return None
    is_open = OTHER in usual.labels or len(usual.labels) >= LABELS_MAX
    return LearntSignature(bool(usual.bins), None if is_open else frozenset(usual.labels))


@once_per_evidence
def strange(evidence: Evidence) -> Strange | None:
    """What is said against the canary; None where it declares its signature, or nothing was learnt."""
    of_model = evidence.of_model
    signature = learnt(of_model.usual.predictions) if of_model.learns_signature else None
    if signature is None or evidence.per_caller:
        return None
    spreads = {bp: both for bp, both in sorted(of_model.spreads.items()) if 0 < bp < FULL_BP}
    epochs = tuple(
        BadOf(
            bp,
            both.canary.predictions.n,
            sum(signature.strange(both.canary.predictions).values()),
            both.stable.predictions.n,
            sum(signature.strange(both.stable.predictions).values()),
        )
        for bp, both in spreads.items()
    )
    predicted = coverage_of(Covered(each.weight_bp, each.canary_n, each.stable_n) for each in epochs)
    outcomes = [Outcomes(each.weight_bp / FULL_BP, each.canary_bad, each.stable_bad) for each in epochs]
    found = signature.strange(sum((both.canary.predictions for both in spreads.values()), Histogram()))
    commonest = max(found, key=found.__getitem__, default="")
    return Strange(predicted.harm(log_e_tilt(outcomes, MOST_RATIO)), epochs, commonest)
