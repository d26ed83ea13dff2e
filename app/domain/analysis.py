"""From tallies to a verdict: collect epochs, let each guardrail speak, say the worst.

(Contract first; the domain owner fills it.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.domain.tally import Horizon, TallyRow, Watermark


class Verdict(StrEnum):
    """What all guardrails together say."""

    HEALTHY = "healthy"
    REGRESSED = "regressed"
    INCONCLUSIVE_HEALTHY = "inconclusive_healthy"
    INCONCLUSIVE_WORSE = "inconclusive_worse"
    INSUFFICIENT_DATA = "insufficient_data"
    NO_EVENTS = "no_events"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one guardrail says. Logs are natural; None where nothing can be said."""

    metric: str
    verdict: Verdict
    log_e_worse: float | None
    log_e_not_worse: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one look saw."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    log_e: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both arms' tallies by weight epoch, and up to which second they were read.

    Attributes:
        read_through: Horizon to the last second (inclusive) already absorbed.
    """

    read_through: Mapping[Horizon, int]


def absorb(
    evidence: Evidence, rows: Iterable[TallyRow], canary_weight_bp: Mapping[int, int], mature: Watermark
) -> Evidence:
    """Add the rows that became mature since the last look, each horizon on its own.

    Args:
        rows: All rows of both arms with `second` above the older of `evidence.read_through` and
            at most the newer of `mature`; rows outside a horizon's span are ignored for it.
        canary_weight_bp: Generation to the canary's weight in it.
        mature: The newest second that is final on every live replica, by horizon.
    """
    raise NotImplementedError
