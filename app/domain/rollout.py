"""A rollout: one canary's way to stable or back, and what can happen to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType, TypeAlias

from app.domain.analysis import Assessment, Evidence
from app.domain.catalog import ModelName, VersionName

RolloutId = NewType("RolloutId", str)


class Phase(StrEnum):
    """Where a rollout is on its way."""

    PENDING = "pending"
    WARMING = "warming"  # probes only, no traffic
    RAMPING = "ramping"
    BAKING = "baking"  # at the highest weight
    PAUSED = "paused"  # a person holds the weight; guardrails go on
    FROZEN = "frozen"  # evidence or the brake holds the lowest weight
    INVALID = "invalid"  # the evidence cannot be trusted; a new rollout is needed
    EXPIRED = "expired"  # the deadline came first; not proven
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


TERMINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED})


class Action(StrEnum):
    """What a decision did; each has one sentence and one row."""

    START = "start"
    ADVANCE = "advance"
    STEP_DOWN = "step_down"
    FREEZE = "freeze"
    THAW = "thaw"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    ABORT = "abort"
    INVALIDATE = "invalidate"
    EXPIRE = "expire"


class OnDeadline(StrEnum):
    """What an undecided rollout does when its time is over."""

    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Policy:
    """How much proof and how much harm; statistics in docs/statistics.md.

    Attributes:
        alpha_rollback: Chance that a healthy rollout is ever turned back.
        alpha_promotion: Chance that a version on the margin is promoted, per guardrail.
        freeze_at, thaw_below: Combined e-value that holds the weight, and that lets it go on.
        exposure_budget: Expected extra bad answers one step may cost, B_step.
        max_weight_bp: Highest weight before promotion.
        warmup_s: Seconds of probes only before the first exchange.
        coverage_s: Least seconds between first exchange and promotion.
        deadline_s: Seconds from start to expiry; hold_s: seconds a paused or frozen rollout may
            stay so.
        latency_margin, latency_floor_ms: The canary is slow above q * (1 + margin) + floor.
        slo_quantile: The latency quantile that must be proven not worse.
        error_margin, error_margin_floor: Absolute non-inferiority margin is the greater of
            error_margin * reference rate and the floor.
    """

    alpha_rollback: float = 0.01
    alpha_promotion: float = 0.05
    freeze_at: float = 10.0
    thaw_below: float = 3.0
    exposure_budget: float = 5.0
    max_weight_bp: int = 5_000
    warmup_s: float = 5.0
    coverage_s: float = 0.0
    deadline_s: float = 7 * 86_400.0
    hold_s: float = 86_400.0
    on_deadline: OnDeadline = OnDeadline.HOLD
    latency_margin: float = 0.25
    latency_floor_ms: float = 5.0
    slo_quantile: float = 0.95
    error_margin: float = 0.5
    error_margin_floor: float = 0.01


@dataclass(frozen=True, slots=True)
class Rollout:
    """One canary's way; changed only by `transitions.advance`.

    Attributes:
        phase_since: When the phase began; phase_deadline: when it must end, None if terminal.
        held_from: The phase a PAUSED or FROZEN rollout goes back to.
        weight_bp: The canary's weight now.
        evidence: All counts judged so far, by weight epoch.
    """

    id: RolloutId
    model: ModelName
    stable: VersionName
    canary: VersionName
    policy: Policy
    evidence: Evidence
    started_at: datetime
    phase: Phase
    phase_since: datetime
    phase_deadline: datetime | None
    held_from: Phase | None = None
    weight_bp: int = 0
    first_exposed_at: datetime | None = None
    brake_open_since: datetime | None = None


# Events: what happened, in the past tense.


@dataclass(frozen=True, slots=True)
class Started:
    """A person or CI asked for the rollout; it leaves PENDING."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """The tick looked. `canary_ready` is the last probe's answer, None when none was made."""

    assessment: Assessment
    canary_ready: bool | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """A person holds the weight."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A person lets it go on, out of PAUSED, FROZEN or EXPIRED."""


@dataclass(frozen=True, slots=True)
class PromotionOrdered:
    """A person promotes without waiting for proof."""


@dataclass(frozen=True, slots=True)
class RollbackOrdered:
    """A person turns the canary back; accepted in every phase."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A person ends the rollout without a verdict on the canary."""


@dataclass(frozen=True, slots=True)
class BrakeOpened:
    """A replica refuses to send traffic to the canary. Repeated while it stays open."""


@dataclass(frozen=True, slots=True)
class BrakeClosed:
    """No replica refuses the canary any more."""


Event: TypeAlias = (
    Started | Assessed | Paused | Resumed | PromotionOrdered | RollbackOrdered | Aborted | BrakeOpened | BrakeClosed
)


# Effects: what the shell must do, in the imperative.


@dataclass(frozen=True, slots=True)
class ShiftWeight:
    """Give the canary this weight and stable the rest: a new generation."""

    canary_weight_bp: int


@dataclass(frozen=True, slots=True)
class MakeStable:
    """Give this version all traffic and the role stable: a new generation."""

    version: VersionName


Effect: TypeAlias = ShiftWeight | MakeStable


@dataclass(frozen=True, slots=True)
class Resolution:
    """Why something was done, for a decision row.

    Attributes:
        trigger: The metric that decided, or "operator", "brake", "deadline", "split", "policy".
        sentence: One plain sentence for people who are not statisticians.
        numbers: The figures behind it, JSON values only; enough to recompute the decision.
    """

    action: Action
    trigger: str
    sentence: str
    numbers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """The new rollout and what follows from it; `resolution` is None when nothing was decided."""

    rollout: Rollout
    effects: tuple[Effect, ...] = ()
    resolution: Resolution | None = None
