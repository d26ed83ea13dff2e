"""How many second attempts a version's upstreams may get: a fifth of its exchanges, and a few for free.

Rule: when everything fails, retries must not multiply the load on what is left (retry storm).

Source: the bucket of Finagle's RetryBudget: a share of the load, a floor, what is unused kept for ten seconds.
"""

from typing import Final

SHARE: Final = 0.2
FREE: Final = 10.0
KEPT_SWEEPS: Final = 10
_UNKNOWN: Final = -1


class RetryBudget:  # ADR 0067
    """Tokens for second attempts, refilled once per sweep."""

    __slots__ = ("_exchanges", "_tokens")

    def __init__(self) -> None:
        self._tokens = FREE
        self._exchanges = _UNKNOWN

    @property
    def is_full(self) -> bool:
        """Whether a quiet time adds nothing more."""
        return self._tokens >= FREE

    def take(self) -> bool:
        """Whether one more second attempt is within the budget; if so, it is spent."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def refill(self, exchanges: int) -> None:
        """Add what the exchanges since the last refill allow; the first one only learns where the count stands.

        Args:
            exchanges: How many the version ever served in this process.
        """
        since = 0 if self._exchanges == _UNKNOWN else exchanges - self._exchanges
        earned = max(1.0, SHARE * since)
        self._exchanges = exchanges
        self._tokens = min(self._tokens + earned, FREE + KEPT_SWEEPS * earned)
