"""One rule of eviction for all that is learned of strangers."""

from hypothesis import given
from hypothesis import strategies as st

from app.proxy.bounds.learned import Learned
from app.proxy.bounds.limits import DEFAULT_LIMITS
from app.proxy.http1 import request_head
from app.proxy.http1.request_head import MAX_KNOWN_HOSTS, RequestHead


@given(st.integers(1, 5), st.lists(st.integers(0, 12)))
def test_what_was_kept_last_is_known_and_never_more_than_the_bound(most: int, keys: list[int]) -> None:
    learned: Learned[int, str] = Learned(most)
    for key in keys:
        learned.keep(key, str(key))
        assert learned.known[key] == str(key)
        assert len(learned.known) <= most
        assert all(value == str(known) for known, value in learned.known.items())


def test_strangers_hosts_do_not_keep_the_next_one_from_being_known() -> None:
    for number in range(2 * MAX_KNOWN_HOSTS + 1):
        read = RequestHead(b"GET / HTTP/1.1\r\nhost: Host-%d:80" % number, DEFAULT_LIMITS)
        assert read.host == b"host-%d" % number
        assert request_head._hosts.known[b"Host-%d:80" % number] == read.host
        assert len(request_head._hosts.known) <= MAX_KNOWN_HOSTS


def test_strangers_field_names_do_not_keep_the_next_one_from_being_known() -> None:
    for batch in range(120):
        fields = b"".join(b"\r\nx-%d: y" % number for number in range(90 * batch, 90 * batch + 90))
        RequestHead(b"GET / HTTP/1.1\r\nhost: a" + fields, DEFAULT_LIMITS)
        assert b"x-%d" % (90 * batch + 89) in request_head._NAMES.known
