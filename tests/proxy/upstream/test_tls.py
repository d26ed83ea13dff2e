"""Upstreams behind TLS: verified, named, shown a certificate where they ask for one."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from fakes.upstream_server import Script, UpstreamServer, ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.upstream.test_health import PROBING, ModelServer

from app.domain.catalog.models import Protocol, Timeouts
from app.domain.evidence.tally import Outcome
from app.proxy import Gateway

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()


@asynccontextmanager
async def secure(
    *names: str, script: Script | None = None, asks_for_certificate: bool = False, reply: bytes | None = None
) -> AsyncIterator[UpstreamServer]:
    """A fake model server whose certificate has these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    if asks_for_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        AUTHORITY.configure_trust(context)
    async with upstream(reply, script, context) as server:
        yield server


def trusting(authority: trustme.CA, *, shows: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """What a gateway is given to verify upstreams with."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if shows is not None:
        shows.configure_cert(context)
    return context


async def asked_once(gateway: Gateway, body: bytes = b"{}") -> int:
    async with serving(gateway) as port, talking(port) as talk:
        return (await talk.ask(post(body))).status


async def test_an_upstream_with_a_certificate_of_the_bundles_authority_is_served() -> None:
    async with secure() as server:
        assert server.url.startswith("https://")
        gateway = gateway_with(table_of(routed({"v1": server.url})), tls=trusting(AUTHORITY))
        assert await asked_once(gateway, b"abc") == 200
        assert server.received[0].body == b"abc"
        assert server.received[0].field("host") == server.url.removeprefix("https://").encode()


@pytest.mark.parametrize("trusted", [trusting(STRANGER), None], ids=["another bundle", "the system's authorities"])
async def test_an_upstream_of_another_authority_is_a_502_and_gets_no_request(trusted: ssl.SSLContext | None) -> None:
    async with secure() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), tls=trusted)
        assert await asked_once(gateway) == 502
        assert not server.received
        assert outcomes(gateway) == {"v1": {Outcome.CONNECT_ERROR: 1}}


async def test_a_canary_of_another_authority_is_saved_by_stable_and_braked() -> None:
    async with upstream(ok(b"stable")) as stable, secure() as canary:
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, {"v1": 0, "v2": 10_000}))
        gateway = gateway_with(table, tls=trusting(STRANGER))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(8):
                assert (await talk.ask(post())).body == b"stable"
            assert gateway.open_brakes()
        assert outcomes(gateway)["v2"] == {Outcome.CONNECT_ERROR: 5}


async def test_a_certificate_must_have_the_hosts_name() -> None:
    async with secure("models.test") as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), tls=trusting(AUTHORITY))
        assert await asked_once(gateway) == 502
        assert outcomes(gateway) == {"v1": {Outcome.CONNECT_ERROR: 1}}


async def test_a_declared_server_name_takes_the_hosts_place() -> None:
    async with secure("models.test") as server:
        table = table_of(routed({"v1": server.url}, server_name="models.test"))
        assert await asked_once(gateway_with(table, tls=trusting(AUTHORITY))) == 200
        table = table_of(routed({"v1": server.url}, server_name="other.test"))
        assert await asked_once(gateway_with(table, tls=trusting(AUTHORITY))) == 502


async def test_an_upstream_that_asks_for_a_certificate_is_shown_one() -> None:
    async with secure(asks_for_certificate=True) as server:
        shown = trusting(AUTHORITY, shows=AUTHORITY.issue_cert("gateway.test"))
        assert await asked_once(gateway_with(table_of(routed({"v1": server.url})), tls=shown)) == 200


@pytest.mark.parametrize("shows", [None, STRANGER.issue_cert("gateway.test")], ids=["none", "a stranger's"])
async def test_without_the_right_certificate_such_an_upstream_is_a_502(shows: trustme.LeafCert | None) -> None:
    async with secure(asks_for_certificate=True) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), tls=trusting(AUTHORITY, shows=shows))
        assert await asked_once(gateway) == 502
        assert not server.received
        # With TLS 1.3 the refusal comes after the handshake, when the request is already under way.
        (outcome,) = outcomes(gateway)["v1"]
        assert outcome in {Outcome.CONNECT_ERROR, Outcome.UPSTREAM_ERROR}


async def test_secure_connections_are_used_again() -> None:
    async with secure() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), tls=trusting(AUTHORITY))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(10):
                assert (await talk.ask(post())).status == 200
        assert server.connections == 1


async def test_large_bodies_pass_both_ways_byte_by_byte() -> None:
    body = bytes(range(256)) * 12_000
    async with secure(reply=ok(body)) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), tls=trusting(AUTHORITY))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                assert (await talk.ask(post(body))).body == body
        assert [received.body == body for received in server.received] == [True, True]


async def test_a_server_that_never_shakes_hands_is_a_timeout() -> None:
    async with upstream(script=lambda conversation: conversation.gone()) as server:
        url = server.url.replace("http:", "https:")
        table = table_of(routed({"v1": url}, timeouts=Timeouts(connect_s=0.1)))
        gateway = gateway_with(table, tls=trusting(AUTHORITY))
        assert await asked_once(gateway) == 504
        await server.quiet()
        assert outcomes(gateway) == {"v1": {Outcome.TIMEOUT: 1}}


async def test_plain_and_secure_upstreams_of_one_version_share_its_load_and_its_probes() -> None:
    one, other = ModelServer(), ModelServer()
    async with upstream(script=one) as plain, secure(script=other) as secured:
        table = table_of(routed({"v1": (plain.url, secured.url)}, protocol=Protocol.OIP_V2))
        gateway = gateway_with(table, limits=PROBING, tls=trusting(AUTHORITY))
        async with serving(gateway) as port, talking(port) as talk:
            await eventually(lambda: one.probes and other.probes)
            statuses = [(await talk.ask(post())).status for _ in range(60)]
        assert statuses == [200] * 60
        assert min(one.served, other.served) > 5
