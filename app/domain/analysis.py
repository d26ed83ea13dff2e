"""From tallies to a verdict: collect epochs, let each guardrail speak, say the worst."""

from app.domain.finding import Assessment, Finding, Verdict
from app.domain.ledger import Evidence, absorb
from app.domain.policy import Policy

__all__ = ["Assessment", "Evidence", "Finding", "Verdict", "absorb", "assess"]


def assess(evidence: Evidence, policy: Policy) -> Assessment:
    """What all evidence read so far says; a pure function of the two, so it can be replayed."""
    raise NotImplementedError
