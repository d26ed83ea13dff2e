"""A model server's script that holds its answers back until a test lets them go."""

import asyncio

from fakes.upstream_server import Conversation, Received, ok


class HeldAnswers:
    """Requests are answered in the order they came, one for each release.

    Attributes:
        held: Requests without an answer yet, oldest first.
        most_held: How many there ever were at once.
    """

    def __init__(self, reply: bytes = ok()) -> None:
        self.reply = reply
        self.held: list[Received] = []
        self.most_held = 0
        self._gates: list[asyncio.Event] = []

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            received = await conversation.request()
            gate = asyncio.Event()
            self.held.append(received)
            self._gates.append(gate)
            self.most_held = max(self.most_held, len(self.held))
            try:
                await self._opened_or_left(gate, conversation)
            finally:
                if gate in self._gates:
                    self._gates.remove(gate)
                    self.held.remove(received)
            await conversation.send(self.reply)

    async def _opened_or_left(self, gate: asyncio.Event, conversation: Conversation) -> None:
        """Wait for the release. Raises: ConnectionError when the other side goes first."""
        opened = asyncio.ensure_future(gate.wait())
        left = asyncio.ensure_future(conversation.gone())
        try:
            await asyncio.wait({opened, left}, return_when=asyncio.FIRST_COMPLETED)
            if not gate.is_set():
                raise ConnectionError
        finally:
            opened.cancel()
            left.cancel()
            await asyncio.gather(opened, left, return_exceptions=True)

    def release(self, count: int = 1) -> None:
        """Answer the oldest requests."""
        for _ in range(count):
            self.held.pop(0)
            self._gates.pop(0).set()
