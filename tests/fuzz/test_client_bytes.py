"""Whatever a client sends, and however it is cut: what is forwarded is what an independent reading finds."""

from collections.abc import Iterator

import pytest
from corpora.answers import read_answers
from corpora.canonical import Forwarded
from fuzz.client_bytes import conversations, cuts
from fuzz.profile import thorough
from fuzz.request_reading import Ending, Reading, ReadRequest, read_requests
from fuzz.rig import Outcome, Rig, cut, rig
from hypothesis import assume, example, given
from hypothesis import strategies as st

# Made anew, consumed or rewritten by the gateway; every other field crosses as it came.
NOT_COMPARED = {
    *(b"host", b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"te", b"trailer", b"expect"),
    *(b"proxy-connection", b"upgrade", b"x-request-id", b"x-turnback-version"),
}


@pytest.fixture(scope="module")
def played() -> Iterator[Rig]:
    with rig() as made:
        yield made


def flaws(reading: Reading, outcome: Outcome) -> list[str]:
    """Where the gateway differs from the reading."""
    found = list(outcome.flaws)
    expected = [request for request in reading.requests if not request.is_about_the_server]
    for read, forwarded in zip(expected, outcome.whole, strict=False):
        found += differences(read, forwarded)
    if len(outcome.whole) > len(expected):
        found.append(f"forwarded what is no request: {outcome.whole[len(expected)]}")
    return found or flaws_of_answers(reading, outcome)


def differences(read: ReadRequest, forwarded: Forwarded) -> list[str]:
    """What did not cross as it should."""
    found = []
    if (read.method, read.target, read.body) != (forwarded.method, forwarded.target, forwarded.body):
        found.append(f"read as {read}, forwarded as {forwarded}")
    for name in {name for name, _ in read.fields} - NOT_COMPARED:
        crossed = [value.strip(b" \t") for value in forwarded.values(name)]
        if crossed != ([] if name in read.options else read.values(name)):
            found.append(f"{name!r} crossed as {crossed}")
    return found


def flaws_of_answers(reading: Reading, outcome: Outcome) -> list[str]:
    """Whether each request was answered with its own answer, or rightly refused."""
    methods = [request.method for request in reading.requests]
    answers = read_answers(outcome.wire, [*methods, b"GET"], ended=outcome.closed)
    served = [answer for answer in answers if answer.status < 400]
    if not all(answer.complete for answer in answers) or answers[: len(served)] != served:
        return [f"a broken or late answer: {answers}"]
    numbers = [int(number) for answer in served if (number := answer.value(b"x-nth"))]
    if numbers != list(range(1, len(outcome.whole) + 1)):
        return [f"{len(outcome.whole)} requests were answered as {numbers}"]
    refused = len(answers) > len(served)
    if refused and not outcome.closed:
        return ["a refusal that did not end the connection"]
    if len(served) < len(reading.requests):
        rightly = refused and reading.may_refuse(len(served))
        return [] if rightly else [f"not served: {reading.requests[len(served)]} {answers}"]
    return flaws_of_the_end(reading, refused=refused, closed=outcome.closed)


def flaws_of_the_end(reading: Reading, *, refused: bool, closed: bool) -> list[str]:
    if reading.ending is Ending.REFUSED and not refused:
        return ["what is no request was not refused"]
    if reading.ending is Ending.NOTHING and refused:
        return ["refused although nothing was left"]
    if reading.ending is Ending.NOTHING and closed != any(request.is_last for request in reading.requests):
        return [f"closed: {closed}"]
    return []


@thorough
@given(raw=conversations(), at=cuts, calm=st.booleans())
@example(raw=b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 3, at=[1, 30, 31], calm=True)
@example(raw=b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", at=[], calm=False)
@example(raw=b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\nget /", at=[54], calm=False)
@example(raw=b"GET http://a?x HTTP/1.0\r\n\r\n", at=[], calm=False)
@example(raw=b"GET http://u:p@a/x HTTP/1.0\r\n\r\n", at=[], calm=False)
@example(raw=b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\nHost: a\r\n\r\n", at=[], calm=False)
def test_exactly_the_requests_of_an_independent_reading_are_forwarded(
    played: Rig, raw: bytes, at: list[int], calm: bool
) -> None:
    reading = read_requests(raw)
    # The gateway answers at once, and closes when a body is still to come: that depends on the cutting.
    assume(not any(request.is_about_the_server and request.body for request in reading.requests))
    for pieces in ([raw], cut(raw, at)):
        outcome = played.play(pieces, calm=calm)
        assert flaws(reading, outcome) == [], (pieces, outcome.wire)


def test_a_proxys_own_wish_to_close_does_not_break_the_next_request(played: Rig) -> None:
    raw = b"GET /x HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n"
    outcome = played.play([raw * 2])
    assert flaws(read_requests(raw * 2), outcome) == []
