"""How many second attempts a version's upstreams may get: a fifth of its exchanges, and a few for free.

Rule: when everything fails, retries must not multiply the load on what is left (retry storm).
"""

from typing import Final

SHARE: Final = 0.2
FREE: Final = 10.0
KEPT_SWEEPS: Final = 10


class RetryBudget:
    """Tokens for second attempts, refilled once per sweep."""

    __slots__ = ("_exchanges", "_tokens")

    def __init__(self) -> None:
        self._tokens = FREE
        self._exchanges = 0

    def take(self) -> bool:
        """Whether one more second attempt is within the budget; if so, it is spent."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def refill(self, exchanges: int) -> None:
        """Add what the exchanges since the last refill allow.

        Args:
            exchanges: How many the version was ever drawn for.
        """
        earned = max(1.0, SHARE * (exchanges - self._exchanges))
        self._exchanges = exchanges
        self._tokens = min(self._tokens + earned, FREE + KEPT_SWEEPS * earned)
