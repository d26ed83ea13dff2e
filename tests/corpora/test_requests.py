"""1,809 raw requests: what is forwarded is canonical, and what must be rejected is."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from corpora.answers import ReadAnswer, read_answers
from corpora.canonical import Forwarded
from corpora.cases import Case, Expect, read_cases
from corpora.playing import Recording, Told, play_at_once, standing, tell

# The marker that the smuggling gadgets hide in a body; as a request of its own it was smuggled.
SMUGGLED = b"smuggled-canary"

# Content-Encoding frames nothing: by its length the body ends before the gadget, which is a request of its own.
PLAINLY_PIPELINED = {"contentEnc"}
GATEWAYS_OWN_FAULT = {500, 502, 503, 504}
# The collection calls these valid because gunicorn takes them; the rules that refuse them, and which.
REFUSED = {
    "no Host on HTTP/1.1 (RFC 9112 §3.2)": {
        *("valid/004", "valid/005", "valid/006", "valid/007", "valid/009", "valid/010", "valid/011", "valid/012"),
        *("valid/013", "valid/014", "valid/018", "valid/021", "valid/023", "valid/031", "valid/100"),
        *("valid/025", "valid/025_line", "valid/029", "valid/030"),
    },
    "a transfer coding other than chunked alone (RFC 9112 §6.1 allows 501)": {
        *("valid/025", "valid/025_line", "valid/029", "valid/030"),
        *("valid/rfc9112_smuggle_gzip_chunked_01", "valid/rfc9112_smuggle_te_identity_chunked_01"),
    },
    "bytes behind a request that ends the connection": {"valid/019", "valid/022"},
    "a target that is not ASCII (RFC 3986 §2)": {"valid/027"},
    "a field name with an underscore, which some servers take for another": {"valid/040"},
    "an authority with a password, which is not the Host (RFC 9110 §4.2.4)": {
        "valid/rfc9112_target_absolute_userinfo_01"
    },
    "CONNECT, which no model server needs": {
        *("valid/rfc9112_target_authority_connect_01", "valid/rfc9112_target_authority_ipv6_01"),
    },
    "a body shorter than its Content-Length": {"valid/099"},
}


@dataclass(frozen=True)
class Played:
    """One case and what came of it.

    Attributes:
        begun: Requests of which at least the head reached the upstream.
        whole: Requests that reached it whole.
    """

    case: Case
    told: Told
    begun: list[Forwarded]
    whole: list[Forwarded]
    flaws: list[str] = field(default_factory=list)

    @property
    def answers(self) -> list[ReadAnswer]:
        return read_answers(self.told.wire, [request.method for request in self.begun], ended=self.told.closed)


async def play(cases: list[Case]) -> list[Played]:
    played: list[Played] = []

    async def player(waiting: Iterable[Case]) -> None:
        recording = Recording()
        async with standing(recording.serve) as stand:
            for case in waiting:
                told = await tell(stand.port, case.raw)
                await stand.settle()
                played.append(Played(case, told, recording.begun, list(recording.requests), recording.flaws))
                recording.clear()

    await play_at_once(cases, player)
    return played


def flaws(played: Played) -> list[str]:
    """Every rule of this gateway that the case broke."""
    answers = played.answers
    found = list(played.flaws)
    if not played.told.closed:
        found.append("the connection outlived every deadline")
    if played.case.expect is Expect.REJECT and not (answers and answers[0].status >= 400):
        found.append(f"must be rejected, was answered {[answer.status for answer in answers]}")
    if any(SMUGGLED in request.target for request in played.begun) and played.case.name not in PLAINLY_PIPELINED:
        found.append("a request that was another one's body")
    if any(not answer.complete for answer in answers):
        found.append("an answer that breaks off")
    if any(answer.status in GATEWAYS_OWN_FAULT for answer in answers):
        found.append("a well-behaved upstream was blamed, or the gateway broke")
    if numbers(answers) != list(range(1, len(played.whole) + 1)):
        found.append(f"{len(played.whole)} requests were answered as {numbers(answers)}")
    return found


def numbers(answers: list[ReadAnswer]) -> list[int]:
    """The upstream's own count of the requests, in the order in which the client got the answers."""
    return [int(number) for answer in answers if (number := answer.value(b"x-nth"))]


def is_refused(played: Played) -> bool:
    answers = played.answers
    return not answers or answers[0].status >= 400


@pytest.fixture(scope="module")
async def everything() -> list[Played]:
    """Played once for all tests of this module."""
    return await play(read_cases("requests.jsonl"))


async def test_whatever_is_forwarded_is_canonical_and_what_must_be_rejected_is(everything: list[Played]) -> None:
    assert len(everything) == 1_809
    found = {(each.case.suite, each.case.name): flaws(each) for each in everything}
    assert {case: what for case, what in found.items() if what} == {}


async def test_of_the_valid_requests_only_those_are_refused_that_break_a_rule(everything: list[Played]) -> None:
    valid = [each for each in everything if each.case.expect is Expect.ACCEPT]
    assert len(valid) == 50
    refused = {each.case.name for each in valid if is_refused(each)}
    assert refused == set().union(*REFUSED.values())


async def test_most_cases_reach_the_upstream_or_are_refused_for_good(everything: list[Played]) -> None:
    """Guards the tests above against a stand that forwards nothing, or reads nothing."""
    assert sum(1 for each in everything if each.whole) > 30
    assert all(each.answers for each in everything if each.case.raw.endswith(b"\r\n\r\n") and each.case.raw.strip())
