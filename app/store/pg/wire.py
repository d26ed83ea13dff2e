"""Connections to Postgres that nobody waits for longer than was said.

Rule: psycopg, when it is cancelled in a statement, asks the server to give the statement up and waits for
that, which takes ten seconds when the server hangs, and fails in its own ways. Here the socket is closed at once.
"""

import asyncio
import traceback
from typing import Any, Final, Self

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.waiting import wait_async

# Longer than any statement may run at the server, see app.store.pg.database.
SILENCE_MAX_S: Final = 4.0
_LOOK_EVERY_S: Final = 0.1

# libpq: a server that vanished is noticed in seconds, not after the kernel's quarter of an hour.
CONNECTION: dict[str, Any] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 4_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "prepare_threshold": None,
    "application_name": "turnback",
}


class WireConnection(psycopg.AsyncConnection[Any]):  # ADR 0130
    """Ends itself when what it waits for is cancelled, or when the server says nothing for too long."""

    @classmethod
    async def connect(cls, *given: Any, **named: Any) -> Self:  # noqa: ANN401 -- psycopg's own
        """As psycopg's. A connection that is cancelled while it is made is closed at once too."""
        try:
            return await super().connect(*given, **named)
        except asyncio.CancelledError as cancelled:
            # Nobody but the frames that were left has it; who keeps the error must not keep the socket.
            traceback.clear_frames(cancelled.__traceback__)
            raise

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = _LOOK_EVERY_S,
        timeout: float | None = None,  # noqa: ASYNC109 -- psycopg's signature
    ) -> RV:
        """Run one of psycopg's generators on this connection.

        Raises: psycopg.OperationalError: the server was silent for too long.
        """
        if timeout is not None:
            # Somebody waits for what may never come, such as notifications.
            return await super().wait(gen, interval, timeout)
        try:
            async with asyncio.timeout(SILENCE_MAX_S):
                return await wait_async(gen, self.pgconn.socket, interval=interval)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {SILENCE_MAX_S:g} s") from None
