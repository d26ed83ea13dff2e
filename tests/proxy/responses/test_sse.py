"""Whole events come out as soon as they end, wherever the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxy.responses.sse import EVENT_ENDS, LINE_ENDS, MAX_EVENT, EventCutter, events

lines = st.sampled_from([b"data: a", b"event: b", b": c", b"d", b"data:\r", b"\x00"])
ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"])
streams = st.lists(st.tuples(lines, ends), max_size=20).map(lambda many: b"".join(line + end for line, end in many))
cuttings = st.lists(st.integers(1, 9), max_size=60)


def cut(cutter: EventCutter, stream: bytes, cutting: list[int]) -> list[bytes]:
    shown = []
    for size in cutting:
        shown.append(cutter.cut(stream[:size]))
        stream = stream[size:]
    return [*shown, cutter.cut(stream)]


@given(stream=streams, cutting=cuttings, kinds=st.sampled_from([EVENT_ENDS, LINE_ENDS]))
def test_nothing_is_lost_or_shown_twice(stream: bytes, cutting: list[int], kinds: tuple[bytes, ...]) -> None:
    cutter = EventCutter(kinds)
    assert b"".join(cut(cutter, stream, cutting)) + cutter.rest() == stream
    assert cutter.rest() == b""


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("place", range(1, 12))
def test_an_event_is_shown_with_its_last_byte_and_not_before(end: bytes, place: int) -> None:
    event = b"data: ab" + end
    cutter = EventCutter(EVENT_ENDS)
    for _ in range(2):
        first, rest = event[:place], event[place:]
        shown = cutter.cut(first) + cutter.cut(rest[:-1])
        assert shown == (event if place >= len(event) else b"")
        assert shown + cutter.cut(rest[-1:]) == event


def test_of_an_event_too_long_only_its_beginning_is_shown_and_the_next_is_whole() -> None:
    cutter = EventCutter(EVENT_ENDS)
    shown = [cutter.cut(b"event: long\ndata: " + b"x" * MAX_EVENT)]
    shown += [cutter.cut(b"x" * 1000) for _ in range(100)]
    shown.append(cutter.cut(b"\ndata: [DONE]\n\ndata: next\n\ndata: un"))
    beginning, *nothing, after = shown
    assert beginning.startswith(b"event: long\ndata: xxx")
    assert len(beginning) < 2000
    assert set(nothing) == {b""}
    assert after == b"data: next\n\n"
    assert cutter.rest() == b"data: un"


def test_an_event_too_long_that_never_ends_is_not_shown_again() -> None:
    cutter = EventCutter(EVENT_ENDS)
    cutter.cut(b"x" * (MAX_EVENT + 1))
    assert cutter.cut(b"y") == b""
    assert cutter.rest() == b""


@pytest.mark.parametrize(
    ("whole", "found"),
    [
        (b"data: a\n\n", [(b"", b"a")]),
        (b"event: e\ndata:a\ndata:  b\n\n", [(b"e", b"a\n b")]),
        (b"event: e\r\ndata: a\r\n\r\ndata: b\r\n\r\n", [(b"e", b"a"), (b"", b"b")]),
        (b": comment\nid: 1\nretry: 5\n\n", []),
        (b"event: e\n\n", [(b"e", b"")]),
        (b"data: cut", [(b"", b"cut")]),
        (b"\n\n\n", []),
        (b"tok0 tok1 error", []),
        (b"dat: a\ndata a\n data: a\n\n", []),
        (b"", []),
    ],
)
def test_an_event_is_its_type_and_its_data(whole: bytes, found: list[tuple[bytes, bytes]]) -> None:
    assert list(events(whole)) == found
