"""Heads alike but for their ids are read once, and mean what they always meant."""

import pytest
from fakes.upstream_server import upstream
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import post, talking

from app.proxy.bounds.limits import DEFAULT_LIMITS
from app.proxy.http1.framing import HEAD_END, MAX_REQUEST_ID
from app.proxy.http1.head_cache import MAX_REMEMBERED
from app.proxy.http1.request_head import Refused, RequestHead
from app.proxy.http1.request_heads import Alike, Habit, RequestHeads

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
START = [b"POST /v2/models/fraud/infer HTTP/1.1", b"Host: gateway", b"Content-Length: 2"]


def seen(*heads: bytes) -> RequestHeads:
    """What is known after these requests, each of them accepted."""
    alike = RequestHeads(DEFAULT_LIMITS)
    for head in heads:
        alike.offer(head, RequestHead(head, DEFAULT_LIMITS))
    return alike


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*START, *lines])


def test_a_head_that_came_twice_with_other_ids_is_known_with_a_third() -> None:
    alike = seen(head(b"X-Request-Id: a", b"Accept: */*"), head(b"X-Request-Id: b", b"Accept: */*"))
    found = alike.find_alike(head(b"X-Request-Id: c-3", b"Accept: */*"))
    assert found is not None
    assert (found.request_id, found.trace, found.request.length) == (b"c-3", b"", 2)
    assert found.request.lines == [b"content-length: 2", b"Accept: */*"]
    assert alike.find_alike(head(b"X-Request-Id: c", b"Accept: text/html")) is None
    assert alike.find_alike(head(b"X-Request-Id: ", b"Accept: */*")) is not None


def test_one_time_is_no_habit() -> None:
    assert seen(head(b"x-request-id: a")).find_alike(head(b"x-request-id: b")) is None
    assert seen(head(), head()).find_alike(head()) is None


@pytest.mark.parametrize("spoilt", [b"a b", b"a\x00", b"\xff", b"a" * 129, b" a", b"a\t"])
def test_an_id_that_is_not_plainly_one_is_read_with_its_whole_head(spoilt: bytes) -> None:
    alike = seen(*(head(b"X-Request-Id: %d" % number) for number in range(3)))
    assert alike.find_alike(head(b"X-Request-Id: " + spoilt)) is None


@pytest.mark.parametrize("spoilt", [PARENT[:-1], PARENT.replace(b"0af7651916cd43dd8448eb211c80319c", b"0" * 32), b"x"])
def test_a_trace_that_is_none_is_read_with_its_whole_head(spoilt: bytes) -> None:
    alike = seen(head(b"traceparent: " + PARENT), head(b"traceparent: " + PARENT[:-1] + b"0"))
    assert alike.find_alike(head(b"traceparent: " + PARENT)) is not None
    assert alike.find_alike(head(b"traceparent: " + spoilt)) is None


ids = st.sampled_from([b"a", b"b-2", b"a b", b"\xe9", b"", b"x" * 129, PARENT, PARENT[:-2] + b"00", b"ff-1"])
names = st.sampled_from([b"X-Request-Id", b"x-request-id", b"Traceparent", b"traceparent", b"TRACEPARENT"])
others = st.sampled_from(
    [
        *(b"Accept: */*", b"Connection: close", b"Connection: traceparent", b"Connection: x-request-id, accept"),
        *(b"tracestate: a=1", b"X-Forwarded-For: 1.2.3.4", b"X-Turnback-Model: m", b"Authorization: b", b"x:y"),
    ]
)


@settings(max_examples=400)
@given(st.data(), st.lists(st.one_of(others, names), max_size=5), st.sampled_from([b": ", b":", b":  "]))
def test_what_is_found_says_what_the_whole_head_says(data: st.DataObject, shape: list[bytes], colon: bytes) -> None:
    def drawn() -> bytes:
        return head(*(each if b":" in each else each + colon + data.draw(ids) for each in shape))

    alike, habit = RequestHeads(DEFAULT_LIMITS), Habit()
    for _ in range(8):
        whole = drawn()
        again = habit.recognised(whole + HEAD_END + b"{}")
        found = again or alike.find_alike(whole)
        try:
            says = RequestHead(whole, DEFAULT_LIMITS)
        except Refused:
            assert found is None
            continue
        if found is None:
            alike.offer(whole, says)
            if whole in alike.known:
                habit.note(whole, says)
            continue
        check_that_it_says(found, says)
        if again is None:
            habit.note(whole, found.request, found)


def check_that_it_says(found: Alike, says: RequestHead) -> None:
    assert found.request_id == says.request_id
    assert bool(found.trace) is (says.has_trace and not found.request.has_trace)
    lines = says.lines
    if found.trace:
        assert found.trace[:-2] in lines
        lines = [line for line in lines if not line.startswith(b"traceparent: ")]
    assert found.request.lines == lines
    for name in ("method", "url", "line", "authority", "host", "length", "keep_alive", "http_1_0", "asked_model"):
        assert getattr(found.request, name) == getattr(says, name), name
    assert (found.request.relayed is None) is (says.relayed is None)


def in_the_habit_of(whole: bytes, id_at: int = -1) -> Habit:
    """A connection over which this head came twice, the length of its id being 1 where there is one to cut out."""
    habit, request = Habit(), RequestHead(whole, DEFAULT_LIMITS)
    for _ in range(2):
        habit.note(whole, request, Alike(request, b"a", b"", id_at) if id_at >= 0 else None)
    return habit


def test_the_head_that_came_last_is_recognised_with_another_id_and_its_whole_body() -> None:
    before, after = head(b"X-Request-Id: "), b"\r\nAccept: */*" + HEAD_END
    habit = in_the_habit_of(before + b"a\r\nAccept: */*", len(before))
    found = habit.recognised(before + b"c-3" + after + b"{}")
    assert found is not None
    assert found.request_id == b"c-3"
    assert (before + b"c-3" + after)[habit.tail_at :] == b"\r\n"
    for spoilt in (b"a b", b"a\x00", b"\xff", b"a" * (MAX_REQUEST_ID + 1), b"a\r\nx: y", b"a\r"):
        assert habit.recognised(before + spoilt + after + b"{}") is None
    for body in (b"", b"{", b"{} "):
        assert habit.recognised(before + b"c" + after + body) is None
    assert habit.recognised(before + b"c\r\nAccept: text/html" + HEAD_END + b"{}") is None


def test_a_head_without_an_id_is_recognised_as_it_is() -> None:
    habit = in_the_habit_of(head())
    assert habit.recognised(head() + HEAD_END + b"{}") is not None
    assert habit.recognised(head(b"x: y") + HEAD_END + b"{}") is None
    assert Habit().recognised(head() + HEAD_END + b"{}") is None


def test_what_is_remembered_has_a_bound() -> None:
    alike = RequestHeads(DEFAULT_LIMITS)
    for path in range(3 * MAX_REMEMBERED):
        for number in range(2):
            whole = b"GET /%d HTTP/1.1\r\nhost: a\r\nx-request-id: %d" % (path, number)
            alike.offer(whole, RequestHead(whole, DEFAULT_LIMITS))
    assert 0 < len(alike._rests.known) <= MAX_REMEMBERED
    assert len(alike._rests._once.known) <= MAX_REMEMBERED


async def test_the_upstream_and_the_client_see_each_request_s_own_ids() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for number in range(5):
                parent = PARENT[:-2] + b"%02x" % number
                own = (f"X-Request-Id: r{number}", f"Traceparent: {parent.decode()}")
                answer = await talk.ask(post(b"{}", "/v2/models/fraud/infer", *own))
                assert answer.field("x-request-id") == f"r{number}"
        for number, request in enumerate(server.received):
            assert request.field("x-request-id") == b"r%d" % number
            assert request.field("traceparent") == PARENT[:-2] + b"%02x" % number
            assert request.head.lower().count(b"traceparent:") == request.head.lower().count(b"x-request-id:") == 1
