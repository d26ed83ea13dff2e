"""Which Host and which Origin a request to the admin or ops port may have."""

import socket

import pytest

from app.proxy.bounds.limits import DEFAULT_LIMITS
from app.proxy.downstream.addressed import PROBED, Addressees
from app.proxy.http1.request_head import Refused, RequestHead

HERE = ("127.0.0.1", 8321)
HERE_V6 = ("::1", 8321, 0, 0)
MAPPED = ("::ffff:127.0.0.1", 8321, 0, 0)
LINK_LOCAL = ("fe80::1%eth0", 8321, 0, 2)


def head(host: str, *fields: str, method: str = "GET", path: str = "/v1/models") -> RequestHead:
    return RequestHead("\r\n".join((f"{method} {path} HTTP/1.1", f"host: {host}", *fields)).encode(), DEFAULT_LIMITS)


def status(request: RequestHead, local: object = HERE, names: tuple[str, ...] = ("control", "10.0.0.9")) -> int:
    """What is answered to a request; 200 where the application would."""
    try:
        Addressees(names).check(request, local)
    except Refused as refused:
        return refused.problem.status
    return 200


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", HERE),
        ("localhost:8321", HERE),
        ("LocalHost.", HERE),
        ("127.0.0.1", HERE),
        ("127.0.0.1:8321", HERE),
        ("127.0.0.1:1", HERE),
        ("127.0.0.2", ("127.0.0.2", 8321)),
        ("127.0.0.1", MAPPED),
        ("[::ffff:127.0.0.1]", MAPPED),
        ("[::1]", HERE_V6),
        ("[::1]:8321", HERE_V6),
        ("[0:0:0:0:0:0:0:1]", HERE_V6),
        ("[FE80::1]", LINK_LOCAL),
        ("control", HERE),
        ("CONTROL.:80", HERE),
        ("10.0.0.9", HERE),
    ],
)
def test_who_calls_this_process_by_its_own_address_or_a_given_name_is_heard(host: str, local: object) -> None:
    assert status(head(host), local) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8321",
        "localhost.evil.example",
        "evil.localhost",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0.0.0.0",  # noqa: S104 -- a name somebody calls
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.2]",
        "control.evil.example",
        "xcontrol",
        "localhost..",
        "local%68ost",
    ],
)
def test_every_other_name_and_address_is_misdirected_but_for_probes(host: str) -> None:
    assert status(head(host)) == 421
    assert [status(head(host, path=path.decode())) for path in PROBED] == [200, 200]
    assert [status(head(host, path=path)) for path in ("/livez/", "/readyzz", "/metrics", "/Livez")] == [421] * 4


def test_an_older_client_without_a_host_may_only_probe() -> None:
    for path, expected in (("/livez", 200), ("/readyz?verbose", 200), ("/metrics", 421)):
        assert status(RequestHead(f"GET {path} HTTP/1.0".encode(), DEFAULT_LIMITS)) == expected


@pytest.mark.parametrize("host", ["localhost:65536", "localhost:99999"])
def test_a_port_beyond_all_ports_is_malformed(host: str) -> None:
    assert status(head(host)) == 400


def test_a_socket_without_an_address_is_called_by_name() -> None:
    assert [status(head(host), local="") for host in ("localhost", "127.0.0.1")] == [200, 421]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), 200),
        (("Origin: http://127.0.0.1:8321",), 200),
        (("Origin: HTTP://127.0.0.1:8321",), 200),
        (("Origin: https://127.0.0.1:8321",), 200),
        (("Origin: http://127.0.0.1:8321", "Sec-Fetch-Site: same-origin"), 200),
        (("Sec-Fetch-Site: same-origin",), 200),
        (("Sec-Fetch-Site: none",), 200),
        (("Origin: http://evil.example",), 403),
        (("Origin: http://evil.example:8321",), 403),
        (("Origin: null",), 403),
        (("Origin: http://127.0.0.1",), 403),
        (("Origin: http://127.0.0.1:3000",), 403),
        (("Origin: http://localhost:8321",), 403),
        (("Origin: http://127.0.0.1:8321 http://evil.example",), 403),
        (("Origin: http://127.0.0.1:8321", "Origin: http://evil.example"), 403),
        (("Origin:",), 403),
        (("Sec-Fetch-Site: cross-site",), 403),
        (("Sec-Fetch-Site: same-site",), 403),
        (("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"), 403),
        (("Sec-Fetch-Site: cross-site", "Origin: http://127.0.0.1:8321"), 403),
        (("Origin: http://evil.example", "Sec-Fetch-Site: same-origin"), 403),
    ],
)
def test_a_page_from_elsewhere_changes_nothing(method: str, fields: tuple[str, ...], expected: int) -> None:
    assert status(head("127.0.0.1:8321", *fields, method=method)) == expected
    # What changes nothing is answered: no page from elsewhere may read it, because nothing here allows that.
    assert [status(head("127.0.0.1:8321", *fields, method=safe)) for safe in ("GET", "HEAD", "OPTIONS")] == [200] * 3


@pytest.mark.parametrize(
    "name", ["a.example:80", "[::1]:80", "", "a b", "http://a", "a/b", "é.example", "*.a@b", "::g"]
)
def test_what_is_no_name_without_a_port_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ValueError, match="is no host name or address without a port"):
        Addressees([name])


@pytest.mark.parametrize("name", ["::1", "[::1]", "0:0::1"])
def test_an_address_may_be_given_in_any_spelling(name: str) -> None:
    assert status(head("[::1]"), names=(name,)) == 200


def test_the_address_of_a_socket_is_compared_as_the_system_tells_it() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.3", 0))
        assert status(head("127.0.0.3"), bound.getsockname()) == 200
        assert status(head("127.0.0.1"), bound.getsockname()) == 421
