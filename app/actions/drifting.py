"""What has become of a model's inputs and predictions: read in whole windows, beside what they once were.

Rule: windows are counted from a version's oldest kept distributions and do not overlap, so that looking often
looks at nothing twice; a window is read when every replica has said that it is over.
"""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.catalog import ModelName, Version, VersionName
from app.domain.drift_guardrail import Differing, inputs_differing, predictions_differing
from app.domain.reference_drift import Drifted, drifted
from app.domain.rollout import TERMINAL, Rollout
from app.domain.spread import Spread
from app.store import catalog, observed, replicas, rollouts
from app.store.database import Transaction


class ReferenceKind(StrEnum):
    """What a version is held against."""

    TRAINING = "training"  # registered with it
    BAKE_IN = "bake-in"  # the first window of it that is kept


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds [since, until), and how many such windows there have been."""

    since: int
    until: int
    number: int


@dataclass(frozen=True, slots=True)
class Drift:
    """One version's last whole window against its reference.

    Attributes:
        window: None while no window is over.
        distributions: Empty likewise.
    """

    version: VersionName
    reference: ReferenceKind
    window: Window | None
    distributions: tuple[Drifted, ...]

    @property
    def flagged(self) -> frozenset[str]:
        """Names of those that are far from the reference, and provably."""
        return frozenset(each.name for each in self.distributions if each.flagged)


@dataclass(frozen=True, slots=True)
class BesideStable:
    """A running rollout's versions side by side, drawn by a coin: what traffic does to both is not in here."""

    canary: VersionName
    stable: VersionName
    inputs: tuple[Differing, ...]
    predictions: Differing | None


async def drift_of(tx: Transaction, version: Version, window_s: int, floor: float) -> Drift:
    """A version against its training reference, or where there is none against its own first window.

    Args:
        tx: Where to read.
        version: As registered.
        window_s: A multiple of `SPREAD_S`.
        floor: Least PSI that matters.
    """
    training = version.credentials.reference
    kind = ReferenceKind.BAKE_IN if training == Spread() else ReferenceKind.TRAINING
    first = await observed.first_of_spreads(tx, version.model, version.name)
    mature = await replicas.watermark(tx)
    begins_at = 1 if kind is ReferenceKind.BAKE_IN else 0
    whole = 0 if first is None or mature is None else (mature.status + 1 - first) // window_s
    if first is None or whole <= begins_at:
        return Drift(version.name, kind, None, ())
    since = first + (whole - 1) * window_s
    now = await observed.history_of_spreads(tx, version.model, version.name, since, since + window_s)
    then = training
    if kind is ReferenceKind.BAKE_IN:
        then = await observed.history_of_spreads(tx, version.model, version.name, first, first + window_s)
    window = Window(since, since + window_s, whole - begins_at)
    return Drift(version.name, kind, window, drifted(then, now, window.number, floor))


async def running(tx: Transaction, model: ModelName) -> Rollout | None:
    """The model's rollout that has not ended."""
    last = await rollouts.latest(tx, model)
    return None if last is None or last.phase in TERMINAL else last


async def other_arm(tx: Transaction, rollout: Rollout, version: VersionName) -> Version | None:
    """Whom the coin sends the rest of the traffic; None if the version is in no rollout."""
    others = {rollout.stable: rollout.canary, rollout.canary: rollout.stable}
    return await catalog.version(tx, rollout.model, others[version]) if version in others else None


def beside_stable(rollout: Rollout) -> BesideStable:
    """What a rollout's evidence says of inputs and predictions."""
    evidence = rollout.evidence
    return BesideStable(rollout.canary, rollout.stable, inputs_differing(evidence), predictions_differing(evidence))
