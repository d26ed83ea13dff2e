"""What has become of a model's inputs and predictions: read in whole windows, beside what they once were.

Rule: windows are counted from a version's oldest kept distributions and do not overlap, so that looking often
looks at nothing twice; a window is read when every replica has said that it is over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from app.actions.context import Means
from app.domain.catalog.declarations import PREDICTIONS
from app.domain.catalog.models import ModelName, Version, VersionName
from app.domain.guardrails.drift import Differing, inputs_differing, predictions_differing
from app.domain.reports.drift import Drifted, drifted
from app.domain.rollout.rollout import TERMINAL, Rollout
from app.domain.stats.categories import REFERENCE_MIN
from app.domain.stats.histogram import Spread
from app.errors import InvalidInput
from app.store.evidence import observed
from app.store.pg.database import Transaction
from app.store.rollouts import rollouts
from app.store.routing import catalog, replicas, routes


class ReferenceKind(StrEnum):
    """What a version is held against."""

    TRAINING = "training"  # registered with it
    BAKE_IN = "bake-in"  # its first windows that are kept, as many as hold enough values


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
        trained: Names of the distributions that were registered with it; the others are held against its bake-in.
        bake_in: None where everything was registered, or no window is over in which enough was seen.
        window: None while no window behind the bake-in is over.
        distributions: Empty likewise.
    """

    version: VersionName
    trained: frozenset[str]
    bake_in: Window | None
    window: Window | None
    distributions: tuple[Drifted, ...]

    @property
    def reference(self) -> ReferenceKind:
        """Whether anything was registered."""
        return ReferenceKind.TRAINING if self.trained else ReferenceKind.BAKE_IN

    def reference_of(self, name: str) -> ReferenceKind:
        """What the distribution of this name is held against."""
        return ReferenceKind.TRAINING if name in self.trained else ReferenceKind.BAKE_IN

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


@dataclass(frozen=True, slots=True)
class DriftReport:
    """A version's drift, and what of it a running rollout explains.

    Attributes:
        in_both: Names that are flagged of both versions of the rollout: the traffic's doing.
        beside: None when the version is in no running rollout.
    """

    drift: Drift
    in_both: frozenset[str]
    beside: BesideStable | None


async def drift_report(
    means: Means, model: ModelName, version: VersionName | None, window_s: int, floor: float
) -> DriftReport:
    """Drift of a version, by default of stable; see `drift_of`.

    Raises: UnknownModel, UnknownVersion, InvalidInput: no version is stable yet.
    """
    async with means.database.transaction() as tx:
        asked = await _version(tx, model, version)
        found = await drift_of(tx, asked, window_s, floor)
        rollout = await _running(tx, model)
        other = None if rollout is None else await _other_arm(tx, rollout, asked.name)
        if rollout is None or other is None:
            return DriftReport(found, frozenset(), None)
        in_both = found.flagged & (await drift_of(tx, other, window_s, floor)).flagged
    return DriftReport(found, in_both, _beside_stable(rollout))


async def _version(tx: Transaction, model: ModelName, version: VersionName | None) -> Version:
    await catalog.model(tx, model)
    if version is not None:
        return await catalog.version(tx, model, version)
    route = await routes.route(tx, model)
    if route is None:
        raise InvalidInput("/version", f"model {model} has no stable version yet")
    return await catalog.version(tx, model, route.stable)


async def drift_of(tx: Transaction, version: Version, window_s: int, floor: float) -> Drift:
    """A version against its training reference, and what that lacks against its own first windows.

    Args:
        tx: Where to read.
        version: As registered.
        window_s: A multiple of `SPREAD_S`.
        floor: Least PSI that matters.
    """
    training = version.credentials.reference
    trained = frozenset(_names(training))
    first = await observed.first_of_spreads(tx, version.model, version.name)
    mature = await replicas.watermark(tx)
    whole = 0 if first is None or mature is None else (mature.status + 1 - first) // window_s
    nothing = Drift(version.name, trained, None, None, ())
    if first is None or not whole:
        return nothing
    known = await catalog.model(tx, version.model)
    bake_in, then = None, training
    if not trained >= {PREDICTIONS, *(each.name for each in known.features)}:
        bake_in, seen = await _bake_in(tx, version, first, window_s, whole)
        then = training.or_else(seen)
    number = whole - (0 if bake_in is None else bake_in.number)
    if not number or (bake_in is None and not trained):
        return replace(nothing, bake_in=bake_in)
    since = first + (whole - 1) * window_s
    now = await observed.history_of_spreads(tx, version.model, version.name, since, since + window_s)
    window = Window(since, since + window_s, number)
    return Drift(version.name, trained, bake_in, window, drifted(then, now, number, floor))


def _names(spread: Spread) -> Iterator[str]:
    """Of the distributions that hold something."""
    if spread.predictions.n:
        yield PREDICTIONS
    yield from (name for name, each in spread.features.items() if each.n)


async def _bake_in(
    tx: Transaction, version: Version, first: int, window_s: int, whole: int
) -> tuple[Window | None, Spread]:
    """The version's first windows, so many that they say what is usual; None and nothing while all say too little.

    A canary's first window may hold one exchange. How many windows it takes depends on how much was seen and not on
    what, so the test stays fair.
    """
    windows = 1
    while windows <= whole:
        until = first + windows * window_s
        seen = await observed.history_of_spreads(tx, version.model, version.name, first, until)
        if any(each.n >= REFERENCE_MIN for each in (seen.predictions, *seen.features.values())):
            return Window(first, until, windows), seen
        windows *= 2
    return None, Spread()


async def _running(tx: Transaction, model: ModelName) -> Rollout | None:
    """The model's rollout that has not ended."""
    last = await rollouts.latest(tx, model)
    return None if last is None or last.phase in TERMINAL else last


async def _other_arm(tx: Transaction, rollout: Rollout, version: VersionName) -> Version | None:
    """Whom the coin sends the rest of the traffic; None if the version is in no rollout."""
    others = {rollout.stable: rollout.canary, rollout.canary: rollout.stable}
    return await catalog.version(tx, rollout.model, others[version]) if version in others else None


def _beside_stable(rollout: Rollout) -> BesideStable:
    """What a rollout's evidence says of inputs and predictions."""
    evidence = rollout.evidence
    return BesideStable(rollout.canary, rollout.stable, inputs_differing(evidence), predictions_differing(evidence))
