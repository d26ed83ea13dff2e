"""What upstreams are told of where a request came from, and which trace it belongs to."""

import ipaddress
import re

import pytest
from fakes.upstream_server import Received, upstream
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, talking

from app.proxy.http1.forwarded import Origin, Relayed, is_within
from app.proxy.http1.trace_context import Traces, is_valid

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
CLAIMS = (
    "X-Forwarded-For: 6.6.6.6, 7.7.7.7",
    "x-forwarded-for: 8.8.8.8",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.test",
    "X-Forwarded-Port: 443",
    "Forwarded: for=6.6.6.6;proto=https",
    "X-Real-IP: 6.6.6.6",
)
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


async def received(*lines: str, trusted: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()) -> Received:
    """What the upstream got of a request with these fields; asked twice, as heads alike are read once."""
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), trusted_proxies=trusted)
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                assert (await talk.ask(get("/m/fraud", *lines))).status == 200
        first, second = (_without_ids(each.head) for each in server.received)
        assert first.replace(b":%d" % port, b"") == second.replace(b":%d" % port, b"")
        return server.received[1]


def _without_ids(head: bytes) -> bytes:
    return re.sub(rb"(x-request-id|traceparent): [^\r]+", b"", head)


@pytest.mark.parametrize("trusted", [(), ELSEWHERE])
async def test_what_a_client_claims_is_replaced(trusted: tuple[ipaddress.IPv4Network, ...]) -> None:
    request = await received(*CLAIMS, trusted=trusted)
    assert request.field("x-forwarded-for") == b"127.0.0.1"
    assert request.field("x-forwarded-proto") == b"http"
    assert request.field("x-forwarded-host") == b"gateway.test"
    assert request.field("x-forwarded-port") not in {None, b"443"}
    assert request.field("forwarded") == b'for=127.0.0.1;proto=http;host="gateway.test"'
    assert b"6.6.6.6" not in request.head


async def test_what_a_trusted_proxy_says_is_kept_or_appended_to() -> None:
    request = await received(*CLAIMS, trusted=(*ELSEWHERE, *LOOPBACK))
    assert request.field("x-forwarded-for") == b"6.6.6.6, 7.7.7.7, 8.8.8.8, 127.0.0.1"
    assert request.field("x-forwarded-proto") == b"https"
    assert request.field("x-forwarded-host") == b"shop.test"
    assert request.field("x-forwarded-port") == b"443"
    assert request.field("forwarded") == b'for=6.6.6.6;proto=https, for=127.0.0.1;proto=http;host="gateway.test"'
    assert b"X-Real-IP" not in request.head


async def test_a_trusted_proxy_that_says_nothing_or_nonsense_changes_nothing() -> None:
    nonsense = await received(
        "X-Forwarded-Proto: ht tp", "X-Forwarded-Host: a b", "X-Forwarded-Port: many", trusted=LOOPBACK
    )
    nothing = await received(trusted=LOOPBACK)
    for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"):
        assert nonsense.field(name) == nothing.field(name)


@pytest.mark.parametrize(
    ("peer", "networks", "within"),
    [
        ("10.1.2.3", ELSEWHERE, True),
        ("::ffff:10.1.2.3", ELSEWHERE, True),
        ("fd12::1", ELSEWHERE, True),
        ("11.1.2.3", ELSEWHERE, False),
        ("::1", ELSEWHERE, False),
        ("10.1.2.3", (), False),
        ("unknown", ELSEWHERE, False),
    ],
)
def test_an_address_is_within_a_network_or_not(
    peer: str, networks: tuple[ipaddress.IPv4Network, ...], *, within: bool
) -> None:
    assert is_within(peer, networks) is within


def test_an_ipv6_client_is_told_of_in_the_form_each_field_wants() -> None:
    origin = Origin(("fe80::1%eth0", 4000, 0, 2), ("::", 8320, 0, 0), ())
    lines = b"a.test".join(origin.parts).split(b"\r\n")
    assert b"x-forwarded-for: fe80::1" in lines
    assert b"x-forwarded-port: 8320" in lines
    assert b'forwarded: for="[fe80::1]";proto=http;host="a.test"' in lines


def test_a_request_without_a_host_says_nothing_of_one() -> None:
    told = Origin(("1.2.3.4", 4000), ("0.0.0.0", 8320), ()).told(b"", Relayed())  # noqa: S104 -- a made-up listener
    assert b"host" not in told
    assert b"forwarded: for=1.2.3.4;proto=http" in told.split(b"\r\n")


@pytest.mark.parametrize(
    "value",
    [
        PARENT,
        PARENT[:-2] + "01",
        PARENT[:-2] + "ff",
        "01" + PARENT[2:],
        "fe" + PARENT[2:],
        "cc" + PARENT[2:] + "-what-will-be",
    ],
)
async def test_a_valid_trace_is_passed_on_with_its_state(value: str) -> None:
    request = await received("TraceParent: " + value, "tracestate: a=1,b=2", "tracestate: c=3")
    assert request.field("traceparent") == value.encode()
    assert re.findall(rb"tracestate: ([^\r]+)", request.head) == [b"a=1,b=2", b"c=3"]


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("traceparent: ",),
        ("traceparent: ff" + PARENT[2:],),
        ("traceparent: " + PARENT.upper(),),
        ("traceparent: " + PARENT + "-more",),
        ("traceparent: 01" + PARENT[2:] + "more",),
        ("traceparent: " + PARENT[:-1],),
        ("traceparent: 00-" + "0" * 32 + "-00f067aa0ba902b7-01",),
        ("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",),
        ("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",),
        ("traceparent: " + PARENT, "traceparent: " + PARENT),
        ("traceparent: " + PARENT, "Connection: traceparent"),
    ],
)
async def test_without_one_valid_trace_a_new_one_begins_and_the_old_state_ends(lines: tuple[str, ...]) -> None:
    request = await received(*lines, "tracestate: a=1")
    made = request.field("traceparent")
    assert made is not None
    assert is_valid(made)
    assert made[3:35] != PARENT[3:35].encode()
    assert b"tracestate" not in request.head


def test_traces_begun_here_are_valid_and_differ() -> None:
    traces = Traces()
    lines = [traces.begin() for _ in range(1_000)]
    assert all(is_valid(line.removeprefix(b"traceparent: ").removesuffix(b"\r\n")) for line in lines)
    assert len({line[16:48] for line in lines}) == 1_000


def test_a_trace_of_nothing_but_zeros_is_never_begun() -> None:
    zeros_first = iter((b"\0" * 16, b"\1" * 16, b"\0" * 4096, b"\2" * 4096))
    begun = Traces(lambda _count: next(zeros_first)).begin()
    assert begun == b"traceparent: 00-%b-%b-03\r\n" % (b"02" * 16, b"01" * 8)
