"""Counts that anyone can check by hand, as evidence: what the tests of the verdicts begin with."""

from dataclasses import replace

from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import Policy
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.tally import Horizon, Outcome, Tally
from app.domain.guardrails.finding import Assessment, Finding
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.stats.latency_histogram import latency_bin

START = 1_900_000_000
# Stable fails 1 % of the time, and its latencies lie evenly between 1 and 100 ms.
HISTORY = Tally(
    100_000,
    {Outcome.OK: 99_000, Outcome.UPSTREAM_ERROR: 1_000},
    0,
    {latency_bin(ms * 1_000): 1_000 for ms in range(1, 101)},
)
DEFAULT = DEFAULT_POLICY


def ended(
    drawn: int, ended: int, judged: int, errors: int = 0, timeouts: int = 0, timed: int = 0, slow: tuple[int, ...] = ()
) -> ArmCounts:
    """An arm that ended so many exchanges: so many of them say something, and so many of those are bad."""
    outcomes = {
        Outcome.OK: judged - errors - timeouts,
        Outcome.UPSTREAM_ERROR: errors,
        Outcome.TIMEOUT: timeouts,
        Outcome.CANCELLED: ended - judged,
    }
    return ArmCounts(drawn, {outcome: n for outcome, n in outcomes.items() if n}, timed, slow)


def arm(judged: int, errors: int = 0, timeouts: int = 0, slow: int | None = None) -> ArmCounts:
    counts = ended(judged, judged, judged, errors, timeouts)
    return counts if slow is None else replace(counts, timed=judged, slow=(slow,) * 8)


def evidence(
    by_weight: dict[int, tuple[ArmCounts, ArmCounts]], history: Tally = HISTORY, policy: Policy = DEFAULT
) -> Evidence:
    begun = Evidence.begin(VersionName("v1"), VersionName("v2"), slow_limits(policy), history, START)
    epochs = {weight_bp: EpochCounts(canary, stable) for weight_bp, (canary, stable) in by_weight.items()}
    return replace(begun, by_weight=epochs, read_through=dict.fromkeys(Horizon, START + 99))


def found(seen: Assessment, metric: str) -> Finding:
    return next(finding for finding in seen.findings if finding.metric == metric)
