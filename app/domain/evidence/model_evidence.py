"""What a rollout's evidence holds beside errors and latency: labels, answers that were read, distributions.

Rule: values only; what they say is in the module of each guardrail.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.catalog.declarations import SliceKey
from app.domain.evidence.cohort import Cohort
from app.domain.evidence.observed import Observed
from app.domain.stats.histogram import Spread


@dataclass(frozen=True, slots=True)
class ObservedEpoch:
    """Both arms' answers that were read, at one canary weight."""

    canary: Observed = field(default_factory=Observed)
    stable: Observed = field(default_factory=Observed)


@dataclass(frozen=True, slots=True)
class SpreadEpoch:
    """Both arms' distributions at one canary weight."""

    canary: Spread = field(default_factory=Spread)
    stable: Spread = field(default_factory=Spread)


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """All that is about the model.

    Attributes:
        cohorts: Name of a quality metric to its matured labels.
        observed: Canary weight in basis points to what was read of both arms.
        observed_through: Last second whose read answers were added; 0 before the first.
        spreads: Canary weight to both arms' distributions.
        spreads_through: Last second whose distributions were read.
        usual: Stable's distributions before the start, or those it was trained on; what drift is measured from.
        slice_keys: By what traffic is cut, as declared at the start.
        learns_signature: Whether the canary is held against what stable predicts; not where it declares a signature.
        flaw_reference: Stable's share of flawed answers before the start.
        cost_reference: Stable's mean cost per answer before the start; None while nobody knows.
        cost_cap: No answer counts as dearer.
    """

    cohorts: Mapping[str, Cohort] = field(default_factory=dict)
    observed: Mapping[int, ObservedEpoch] = field(default_factory=dict)
    observed_through: int = 0
    spreads: Mapping[int, SpreadEpoch] = field(default_factory=dict)
    spreads_through: int = 0
    usual: Spread = field(default_factory=Spread)
    slice_keys: tuple[SliceKey, ...] = ()
    flaw_reference: float = 0.001
    cost_reference: float | None = None
    cost_cap: float | None = None
    learns_signature: bool = False
