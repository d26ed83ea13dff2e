"""A rollout: one canary's way to stable or back, and what can happen to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType, TypeAlias

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import Metric, Policy
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.tally import Tally
from app.domain.guardrails.finding import Assessment, Cause, Trigger
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import check_policy
from app.errors import InvalidInput

RolloutId = NewType("RolloutId", str)


class Phase(StrEnum):
    """Where a rollout is on its way."""

    PENDING = "pending"
    WARMING = "warming"  # probes only, no traffic
    RAMPING = "ramping"
    BAKING = "baking"  # at the highest weight
    PAUSED = "paused"  # a person holds the weight; guardrails go on
    FROZEN = "frozen"  # suspicion or the brake holds a lower weight
    INVALID = "invalid"  # the evidence cannot be trusted; weight 0, a new rollout is needed
    EXPIRED = "expired"  # the deadline came first; not proven, the weight is held
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


# A rollout that nobody starts is dropped after so long.
PENDING_S = 60.0

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


@dataclass(frozen=True, slots=True)
class Rollout:
    """One canary's way; changed only by `transitions.advance`.

    Attributes:
        phase_since: When the phase began; phase_deadline: when it must end, None if terminal.
        decide_by: When an undecided rollout expires; renewed by a person who resumes later.
        held_from: The phase a PAUSED or FROZEN rollout goes back to.
        frozen_by: What froze a FROZEN rollout last; of a guardrail that holds its metric.
        weight_bp: The canary's weight now; 10,000 once promoted, whatever its standby keeps for a while.
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
    decide_by: datetime
    held_from: Phase | None = None
    frozen_by: Metric | Cause | None = None
    weight_bp: int = 0
    first_exposed_at: datetime | None = None
    brake_open_since: datetime | None = None


def begin(
    rollout_id: RolloutId,
    model: ModelName,
    stable: VersionName,
    canary: VersionName,
    policy: Policy,
    reference: Tally,
    now: datetime,
    *,
    per_caller: bool = False,
    reference_s: float | None = None,
) -> Rollout:
    """A rollout that nobody has started yet.

    Args:
        reference: Stable's tally of the time before `now`; may be empty, see `Evidence.begin`.
        now: Database time, with a time zone.
        per_caller: Whether only each caller's first exchange is evidence, see `Evidence.begin`.
        reference_s: How many seconds the reference covers; None when nobody knows.

    Raises:
        InvalidInput: The policy has a value that cannot be, or both arms are the same version.
    """
    if stable == canary:
        raise InvalidInput("/canary", f"{canary!r} is stable already")
    check_policy(policy)
    return Rollout(
        id=rollout_id,
        model=model,
        stable=stable,
        canary=canary,
        policy=policy,
        evidence=Evidence.begin(
            stable,
            canary,
            slow_limits(policy),
            reference,
            int(now.timestamp()),
            per_caller=per_caller,
            reference_s=reference_s,
        ),
        started_at=now,
        phase=Phase.PENDING,
        phase_since=now,
        phase_deadline=later(now, PENDING_S),
        decide_by=later(now, policy.deadline_s),
    )


def later(now: datetime, seconds: float) -> datetime:
    """So many seconds after `now`; the last instant there is when that lies beyond it."""
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=now.tzinfo)


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
class Decayed:
    """After its promotion the canary turned out worse than the standby beside it.

    Attributes:
        sentence: Why, for the decision; numbers: the figures behind it, JSON values only.
    """

    sentence: str
    numbers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrakeOpened:
    """A replica refuses to send traffic to the canary. Repeated while it stays open."""


@dataclass(frozen=True, slots=True)
class BrakeClosed:
    """No replica refuses the canary any more."""


Event: TypeAlias = (
    Started
    | Assessed
    | Paused
    | Resumed
    | PromotionOrdered
    | RollbackOrdered
    | Aborted
    | Decayed
    | BrakeOpened
    | BrakeClosed
)


# Effects: what the shell must do, in the imperative.


@dataclass(frozen=True, slots=True)
class ShiftWeight:
    """Give the canary this weight and stable the rest: a new generation."""

    canary_weight_bp: int


@dataclass(frozen=True, slots=True)
class MakeStable:
    """Give this version the role stable and all traffic but its standby's: a new generation.

    Attributes:
        standby_bp: The weight the other arm keeps as standby; 0 is none.
    """

    version: VersionName
    standby_bp: int = 0


Effect: TypeAlias = ShiftWeight | MakeStable


@dataclass(frozen=True, slots=True)
class Resolution:
    """Why something was done, for a decision row.

    Attributes:
        sentence: One plain sentence for people who are not statisticians.
        numbers: The figures behind it, JSON values only; enough to recompute the decision.
    """

    action: Action
    trigger: Trigger | Cause
    sentence: str
    numbers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """The new rollout and what follows from it; `resolution` is None when nothing was decided."""

    rollout: Rollout
    effects: tuple[Effect, ...] = ()
    resolution: Resolution | None = None
