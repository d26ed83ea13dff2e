"""Waiting for what happens elsewhere, with a bound."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 10.0


async def eventually(truth: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Return once a condition holds. Raises: TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not truth():  # noqa: ASYNC110 -- what is waited for has no event to offer
            await asyncio.sleep(0.002)
