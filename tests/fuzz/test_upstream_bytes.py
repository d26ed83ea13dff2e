"""Whatever an upstream sends, and however it is cut: the client gets that answer whole, a 502, or a visible abort."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from corpora.answers import Fields, ReadAnswer, read_answers
from fakes.upstream_server import ok
from fakes.wireless import WirelessTransport
from fuzz.client_bytes import cuts
from fuzz.profile import thorough
from fuzz.response_reading import Ending, ReadResponse, read_response
from fuzz.rig import Rig, cut, rig
from fuzz.upstream_bytes import responses
from hypothesis import example, given
from hypothesis import strategies as st

CLEAN = b"GET /clean HTTP/1.1\r\nHost: a\r\n\r\n"
TWICE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" * 2
ODD_REASON = b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 O\x00K\r\n\r\n"
ODD_INTERIM = b"HTTP/1.1 100 Continue\r\nConnection: a b\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
CHUNKED_TWICE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + TWICE
PROBLEM = b"application/problem+json"
NOT_COMPARED = {
    *(b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade"),
    *(b"proxy-connection", b"x-request-id", b"x-turnback-version", b"date"),
}


@dataclass
class Hostile:
    """An upstream that answers /hostile with given pieces and everything else properly.

    Attributes:
        reused: Whether a connection was used again behind a hostile answer.
    """

    rig: Rig
    pieces: Sequence[bytes]
    ending: Ending
    calm: bool
    reused: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def accept(self, transport: WirelessTransport) -> None:
        spoiled = False

        def hear(data: bytes) -> None:
            nonlocal spoiled
            if b" /hostile " in data:
                spoiled = True
                self.tasks.append(self.rig.loop.create_task(self._answer(transport)))
            else:
                self.reused |= spoiled
                self.rig.loop.call_soon(transport.deliver, ok(b"clean"))

        transport.on_write = hear

    async def _answer(self, transport: WirelessTransport) -> None:
        for piece in self.pieces:
            transport.deliver(piece)
            if self.calm:
                await asyncio.sleep(0)
        if self.ending is not Ending.SILENT:
            transport.lose(ConnectionResetError() if self.ending is Ending.RESET else None)


@dataclass(frozen=True)
class Outcome:
    """What two clients got: one that asks the hostile upstream and goes on, and one that comes after it."""

    answers: list[ReadAnswer]
    closed: bool
    afterwards: list[ReadAnswer]
    reused: bool


async def _play(played: Rig, method: bytes, hostile: Hostile, *, warm: bool) -> Outcome:
    played.loop.accept = hostile.accept
    first = played.take_client()
    if warm:
        first.deliver(CLEAN)
        await played.rest(first)
    first.deliver(method + b" /hostile HTTP/1.1\r\nHost: a\r\n\r\n")
    await played.rest(first)
    second = played.take_client()
    second.deliver(CLEAN)
    await played.rest(second)
    closed = first.closed or first.finished
    answers = read_answers(first.sent, [b"GET"] * warm + [method], ended=closed)[warm:]
    afterwards = read_answers(second.sent, [b"GET"], ended=False)
    await played.leave(first, second)
    await asyncio.gather(*hostile.tasks)
    return Outcome(answers, closed, afterwards, hostile.reused)


def flaws(read: ReadResponse | None, outcome: Outcome, ending: Ending) -> list[str]:
    """Where what the clients got differs from the reading."""
    found = []
    if [answer.body for answer in outcome.afterwards] != [b"clean"]:
        found.append(f"poisoned: {outcome.afterwards}")
    if outcome.reused and (read is None or read.surplus or ending is not Ending.SILENT):
        found.append("a connection was used again that cannot be trusted")
    if len(outcome.answers) > 1:
        found.append(f"more than one answer: {outcome.answers}")
    return found + flaws_of(read, outcome, ending)


def flaws_of(read: ReadResponse | None, outcome: Outcome, ending: Ending) -> list[str]:
    answer = outcome.answers[0] if outcome.answers else None
    if answer is None or not answer.complete:
        # Waiting is right only for an upstream that may still go on.
        visible = outcome.closed or ending is Ending.SILENT
        return [] if visible and read is None else [f"no whole answer: {answer}, {read}"]
    if (b"content-type", PROBLEM) in answer.fields and answer.status == 502:
        return [] if read is None or read.doubtful else [f"refused: {read}"]
    if read is None:
        return [f"passed as whole what is broken: {answer}"]
    if (answer.status, answer.body) != (read.status, read.body):
        return [f"read as {read}, passed as {answer}"]
    return differences(read, answer.fields)


def differences(read: ReadResponse, fields: Fields) -> list[str]:
    """Which fields did not cross as they should."""
    return [
        f"{name!r} did not cross as it is"
        for name in {name for name, _ in read.fields} - NOT_COMPARED
        if [value.strip(b" \t") for key, value in fields if key == name]
        != ([] if name in read.options else read.values(name))
    ]


@pytest.fixture(scope="module")
def played() -> Iterator[Rig]:
    with rig() as made:
        yield made


@thorough
@given(
    raw=responses(),
    method=st.sampled_from((b"GET", b"GET", b"POST", b"HEAD")),
    at=cuts,
    calm=st.booleans(),
    warm=st.booleans(),
    ending=st.sampled_from(Ending),
)
@example(raw=ODD_REASON, method=b"GET", at=[], calm=False, warm=False, ending=Ending.CLOSED)
@example(raw=ODD_INTERIM, method=b"GET", at=[], calm=False, warm=False, ending=Ending.CLOSED)
@example(raw=CHUNKED_TWICE, method=b"GET", at=[50], calm=True, warm=False, ending=Ending.SILENT)
@example(raw=TWICE, method=b"GET", at=[39], calm=True, warm=True, ending=Ending.SILENT)
def test_the_client_gets_what_an_independent_reading_finds_or_sees_that_it_broke(
    played: Rig, raw: bytes, method: bytes, at: list[int], calm: bool, warm: bool, ending: Ending
) -> None:
    read = read_response(raw, method, ending)
    for pieces in ([raw], cut(raw, at)):
        hostile = Hostile(played, [piece for piece in pieces if piece], ending, calm)
        outcome = played.loop.run_until_complete(_play(played, method, hostile, warm=warm))
        assert flaws(read, outcome, ending) == [], (pieces, outcome)
