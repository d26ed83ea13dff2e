"""The gateway calls nothing it was not allowed to call."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from app.errors import UpstreamNotAllowed
from app.upstream_allow import LOOPBACK, AllowList, parse

TRICKS = [
    line
    for line in (Path(__file__).parent / "ssrf_hosts.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


async def resolves_to_loopback(_host: str, _port: int) -> Iterable[str]:
    return ["127.0.0.1"]


async def resolves_to_both(_host: str, _port: int) -> Iterable[str]:
    return ["10.0.0.7", "169.254.169.254"]


async def resolves_to_nothing(_host: str, _port: int) -> Iterable[str]:
    raise OSError("no such host")


@pytest.mark.parametrize("host", TRICKS)
async def test_no_spelling_of_a_forbidden_host_gets_past_a_private_network(host: str) -> None:
    allow = AllowList(["192.0.2.0/24"], resolves_to_loopback)
    with pytest.raises(UpstreamNotAllowed):
        await allow.check(f"http://{host}:8000")
    with pytest.raises(UpstreamNotAllowed):
        await allow.check(f"https://{host}:8000")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1:1",
        "https:/127.0.0.1:1",
        "httpss://127.0.0.1:1",
        "HTTPS://127.0.0.1:1",
        "https://user@127.0.0.1:1",
        "file:///etc/passwd",
        "http://user@127.0.0.1:1",
        "http://127.0.0.1:1/?x=1",
        "http://127.0.0.1:1/#x",
        "http://127.0.0.1:1/a/../b",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:01",
        "http://127.1:80",
        "HTTP://127.0.0.1:80",
        "http://127.0.0.1:80/a b",
        "http://127.0.0.1:80\r\nx: y",
        "127.0.0.1:80",
        "",
    ],
)
async def test_only_plain_http_and_https_addresses_pass(url: str) -> None:
    with pytest.raises(UpstreamNotAllowed) as refused:
        await AllowList(LOOPBACK).check(url)
    assert refused.value.field == "/url"


@pytest.mark.parametrize(
    ("url", "spelling"),
    [
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("http://127.0.0.1/", "http://127.0.0.1:80"),
        ("https://127.0.0.1/", "https://127.0.0.1:443"),
        ("https://localhost:8443/v2", "https://localhost:8443/v2"),
        ("http://[::1]:9001/base/path/", "http://[::1]:9001/base/path"),
        ("http://localhost:9001", "http://localhost:9001"),
    ],
)
async def test_loopback_passes_in_its_one_spelling(url: str, spelling: str) -> None:
    assert await AllowList(LOOPBACK).check(url) == spelling


async def test_a_name_passes_only_if_all_its_addresses_do() -> None:
    assert await AllowList(["127.0.0.0/8"], resolves_to_loopback).check("http://models.internal:80")
    for resolve in (resolves_to_both, resolves_to_nothing):
        with pytest.raises(UpstreamNotAllowed):
            await AllowList(["10.0.0.0/8"], resolve).check("http://models.internal:80")


async def test_a_listed_name_needs_no_resolver_and_a_listed_port_is_the_only_one() -> None:
    allow = AllowList(["models.internal:8000"], resolves_to_nothing)
    assert await allow.check("http://models.internal:8000")
    with pytest.raises(UpstreamNotAllowed):
        await allow.check("http://models.internal:8001")


@pytest.mark.parametrize("entry", ["", "a b", "10.0.0.1/8", "host:port", "-x", "127.1"])
def test_an_entry_that_is_no_address_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        AllowList([entry])


def test_an_address_survives_being_taken_apart() -> None:
    assert parse("http://[fd00::1]:8080/v2").url == "http://[fd00::1]:8080/v2"
