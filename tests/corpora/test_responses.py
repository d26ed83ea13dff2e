"""108 raw responses: the client gets a whole answer or an explicit abort, and the next request a clean one."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import pytest
from corpora.answers import NotHttp, ReadAnswer, read_answers
from corpora.cases import Case, Expect, read_cases
from corpora.playing import Told, play_at_once, standing, tell
from fakes.upstream_server import Conversation, ok

HOSTILE = b"GET /hostile HTTP/1.1\r\nHost: a\r\n\r\n"
CLEAN = b"GET /clean HTTP/1.1\r\nHost: a\r\n\r\n"
PIECES = 16


class Ending(Enum):
    """What the upstream does behind its answer."""

    CLOSES = "closes"
    RESETS = "resets"
    SILENT = "stays silent"
    IN_PIECES = "sends it in pieces, then closes"


@dataclass(frozen=True)
class Played:
    """One case and what two clients got: one that asked once more on its connection, one that came after."""

    case: Case
    ending: Ending
    told: Told
    afterwards: Told


class HostileUpstream:
    """Answers with the case's bytes; /clean is answered properly, on the same connection too."""

    def __init__(self, ending: Ending) -> None:
        self.raw = b""
        self._ending = ending

    async def serve(self, conversation: Conversation) -> None:
        while b"/clean" in await conversation.head():
            await conversation.send(ok(b"clean"))
        if self._ending is Ending.IN_PIECES:
            step = len(self.raw) // PIECES + 1
            for start in range(0, len(self.raw), step):
                await conversation.send(self.raw[start : start + step])
                await asyncio.sleep(0.002)
        else:
            await conversation.send(self.raw)
        if self._ending is Ending.SILENT:
            while b"/clean" in await conversation.head():
                await conversation.send(ok(b"clean"))
        elif self._ending is Ending.RESETS:
            raw = conversation.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conversation.writer.transport.abort()


async def play(cases: list[Case], ending: Ending) -> list[Played]:
    played: list[Played] = []

    async def player(waiting: Iterable[Case]) -> None:
        hostile = HostileUpstream(ending)
        async with standing(hostile.serve) as stand:
            for case in waiting:
                hostile.raw = case.raw
                told = await tell(stand.port, HOSTILE + CLEAN)
                afterwards = await tell(stand.port, CLEAN)
                await stand.settle()
                played.append(Played(case, ending, told, afterwards))

    await play_at_once(cases, player)
    return played


def flaws(played: Played) -> list[str]:
    """Every promise to a client that the case broke."""
    found = []
    if not (played.told.closed and played.afterwards.closed):
        found.append("hung")
    if [answer.body for answer in read(played.afterwards)] != [b"clean"]:
        found.append("poisoned: the next client's answer is not its own")
    try:
        answers = read(played.told)
    except NotHttp as wrong:
        return [*found, f"not HTTP: {wrong}"]
    if len(answers) > 1 and not is_clean(answers[1], played.ending):
        found.append("poisoned: the next answer is not its own")
    if not all(answer.complete for answer in answers[:-1]) or len(answers) > 2:
        found.append("more than one answer to a request")
    if not answers:
        return found
    return found + flaws_of(played.case, answers[0], played.ending)


def is_clean(answer: ReadAnswer, ending: Ending) -> bool:
    """Whether it is the next request's own; surplus that comes late can only be seen when it breaks the next answer."""
    return answer.body == b"clean" or (ending is Ending.IN_PIECES and answer.status == 502)


def flaws_of(case: Case, answer: ReadAnswer, ending: Ending) -> list[str]:
    found = []
    # In pieces, what comes before the reason to reject can be a whole answer.
    rejectable = case.expect is Expect.REJECT and ending is not Ending.IN_PIECES
    if rejectable and answer.status < 400 and answer.complete:
        found.append(f"wrongly passed as {answer.status}")
    if answer.complete and answer.status != 502 and not is_as_sent(case, answer):
        found.append(f"another body than the upstream's: {answer.body[:80]!r}")
    names = {name for name, _ in answer.fields}
    if names & {b"x-secret", b"keep-alive", b"upgrade", b"proxy-connection"}:
        found.append(f"a hop-by-hop field crossed: {sorted(names)}")
    return found


def is_as_sent(case: Case, answer: ReadAnswer) -> bool:
    """Whether an independent reader finds the same answer in the upstream's bytes, where it finds any."""
    try:
        sent = read_answers(case.raw, [b"GET"], ended=True)
    except NotHttp:
        return True
    return not sent or not sent[0].complete or (sent[0].status, sent[0].body) == (answer.status, answer.body)


def read(told: Told) -> list[ReadAnswer]:
    return read_answers(told.wire, [b"GET"], ended=told.closed)


@pytest.mark.parametrize("ending", Ending, ids=lambda ending: ending.name.lower())
async def test_no_answer_hangs_poisons_the_next_or_passes_wrongly(ending: Ending) -> None:
    played = await play(read_cases("responses.jsonl"), ending)
    assert len(played) == 108
    found = {each.case.name: flaws(each) for each in played}
    assert {case: what for case, what in found.items() if what} == {}
    passed = [each for each in played if (answers := read(each.told)) and answers[0].status < 400]
    # Guards the lines above against a stand that passes nothing.
    assert len(passed) > 10
