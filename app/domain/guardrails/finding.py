"""What guardrails say: findings, and the assessment of one look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# How a finding's metric begins where it names a slice, and what such findings are called together.
OF_SLICE: Final = "slice:"
_SLICES: Final = "slices"


class Verdict(StrEnum):
    """What one guardrail, or all together, say. Only HEALTHY promotes."""

    HEALTHY = "healthy"  # proven not worse
    REGRESSED = "regressed"  # proven worse
    INCONCLUSIVE_HEALTHY = "inconclusive_healthy"  # undecided, nothing suspicious
    INCONCLUSIVE_WORSE = "inconclusive_worse"  # undecided, suspicious
    INSUFFICIENT_DATA = "insufficient_data"  # too little to say anything
    NO_EVENTS = "no_events"  # nothing came through the canary at all
    INVALID = "invalid"  # the split is not the coin's, or counts cannot be: evidence cannot be trusted


@dataclass(frozen=True, slots=True)
class Finding:
    """What one guardrail says. Logs are natural; None where nothing can be said.

    Attributes:
        metric: A `policy.Metric`, or "slice:KEY=VALUE" where slices have found one, or "split" for the test of the
            coin, or "counts" if they cannot be.
        log_e_worse: Evidence that the canary is worse than stable.
        log_e_not_worse: Evidence that the canary is not worse by more than the margin.
        numbers: Estimates for display, JSON values only; rates standardised by weight epoch.
        dry_run: It is shown and never acts.
        held_because: Why it keeps the canary at its lowest weight though it has no proof, a clause; or None.
    """

    metric: str
    verdict: Verdict
    log_e_worse: float | None
    log_e_not_worse: float | None
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False
    held_because: str | None = None

    @property
    def family(self) -> str:
        """The metric without the slice that it names: one of a few words, whatever the traffic is."""
        return _SLICES if self.metric.startswith(OF_SLICE) else self.metric


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one look saw.

    Attributes:
        log_e: Log of the weighted average of the guardrails' evidence that the canary is worse.
        trigger: The metric that weighs most in `log_e`.
        excess_bound: U_t, anytime upper bound on the canary's excess rate of bad answers.
        exchanges_per_s: Recent rate of the model's exchanges, both arms; 0 when none were seen.
        canary_answers, stable_answers: Mature answers judged so far.
        extra_bad: Estimated bad answers beyond what stable would have given; can be negative.
        read_through_s: Last mature second whose outcomes were read, Unix time.
        held_by: What keeps the canary at its lowest weight: "ceiling", "external", or a metric whose
            guardrail holds; None if nothing does.
        held_because: The same as a clause for people.
        unverified: Metrics whose proof promotion does not wait for and that is not there.
        forward: Why promotion need not wait for coverage, None if it must.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    log_e: float
    trigger: str = "errors"
    excess_bound: float = 1.0
    exchanges_per_s: float = 0.0
    canary_answers: int = 0
    stable_answers: int = 0
    extra_bad: float = 0.0
    read_through_s: int | None = None
    held_by: str | None = None
    held_because: str | None = None
    unverified: tuple[str, ...] = ()
    forward: str | None = None
