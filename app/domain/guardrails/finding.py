"""What guardrails say: findings, what decides by them, and the assessment of one look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from app.domain.catalog.policy import Metric


class Cause(StrEnum):
    """What decides or holds beside the guardrails. Where a metric may stand too, compare by ==."""

    SPLIT = "split"  # the versions were not drawn as the coin says
    INPUTS = "inputs"  # they were not asked the same
    COUNTS = "counts"  # what was counted cannot have happened
    CEILING = "ceiling"  # too many of the canary's answers are bad, whatever stable does
    EXTERNAL = "external"  # both got worse together
    SUSPICION = "suspicion"  # evidence of all guardrails together, and no proof
    BRAKE = "brake"
    DEADLINE = "deadline"
    DECAY = "decay"  # after its promotion
    POLICY = "policy"  # nothing but the rules
    OPERATOR = "operator"


class Slice(NamedTuple):
    """One value of one slice key."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """What decided.

    Attributes:
        slice: Of the slices guardrail: the one that is worse.
    """

    by: Metric | Cause
    slice: Slice | None = None

    def __str__(self) -> str:
        """As it is shown and stored."""
        return str(self.by) if self.slice is None else f"slice:{self.slice.key}={self.slice.value}"


class Verdict(StrEnum):
    """What one guardrail, or all together, say. Only HEALTHY promotes."""

    HEALTHY = "healthy"  # proven not worse
    REGRESSED = "regressed"  # proven worse
    INCONCLUSIVE_HEALTHY = "inconclusive_healthy"  # undecided, nothing suspicious
    INCONCLUSIVE_WORSE = "inconclusive_worse"  # undecided, suspicious
    INSUFFICIENT_DATA = "insufficient_data"  # too little to say anything
    NO_EVENTS = "no_events"  # nothing came through the canary at all
    INVALID = "invalid"  # the split is not the coin's, or counts cannot be: evidence cannot be trusted


WORSE_VERDICTS = frozenset({Verdict.REGRESSED, Verdict.INCONCLUSIVE_WORSE})


@dataclass(frozen=True, slots=True)
class Finding:
    """What one guardrail says. Logs are natural; None where nothing can be said.

    Attributes:
        metric: A guardrail's, or the test of trust that speaks.
        log_e_worse: Evidence that the canary is worse than stable.
        log_e_not_worse: Evidence that the canary is not worse by more than the margin.
        numbers: Estimates for display, JSON values only; rates standardised by weight epoch.
        dry_run: It is shown and never acts.
        held_because: Why it keeps the canary at its lowest weight though it has no proof, a clause; or None.
        slice: The one that is worse, where slices have found one.
    """

    metric: Metric | Cause
    verdict: Verdict
    log_e_worse: float | None
    log_e_not_worse: float | None
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False
    held_because: str | None = None
    slice: Slice | None = None

    @property
    def trigger(self) -> Trigger:
        """As what it decides."""
        return Trigger(self.metric, self.slice)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why the canary must stay at its lowest weight.

    Attributes:
        by: Its ceiling, a cause outside, or the metric whose guardrail holds.
        because: A clause for people, without a full stop.
    """

    by: Metric | Cause
    because: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one look saw.

    Attributes:
        log_e: Log of the weighted average of the guardrails' evidence that the canary is worse.
        trigger: The guardrail that weighs most in `log_e`.
        excess_bound: U_t, anytime upper bound on the canary's excess rate of bad answers.
        exchanges_per_s: Recent rate of the model's exchanges, both arms; 0 when none were seen.
        canary_answers, stable_answers: Mature answers judged so far.
        extra_bad: Estimated bad answers beyond what stable would have given; can be negative.
        read_through_s: Last mature second whose outcomes were read, Unix time.
        hold: What keeps the canary at its lowest weight; None if nothing does.
        unverified: Metrics whose proof promotion does not wait for and that is not there.
        forward: Why promotion need not wait for coverage, None if it must.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    log_e: float
    trigger: Trigger
    excess_bound: float = 1.0
    exchanges_per_s: float = 0.0
    canary_answers: int = 0
    stable_answers: int = 0
    extra_bad: float = 0.0
    read_through_s: int | None = None
    hold: Hold | None = None
    unverified: tuple[Metric, ...] = ()
    forward: str | None = None

    @property
    def held_by(self) -> Metric | Cause | None:
        return None if self.hold is None else self.hold.by

    @property
    def heaviest(self) -> Finding:
        """What the guardrail says that weighs most."""
        return next(each for each in self.findings if each.trigger == self.trigger and not each.dry_run)
