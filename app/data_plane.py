"""One process' data plane and its own ports, made as its settings say.

Rule: nothing but settings in and parts out; main starts them, and ends them.
"""

import ssl
from collections.abc import Callable
from dataclasses import replace

from app.domain.catalog.receipt import ReceiptKey
from app.errors import CannotServe
from app.proxy.bounds.admission import capped, fitting_places, own
from app.proxy.bounds.limits import Limits
from app.proxy.downstream.addressed import Addressees
from app.proxy.downstream.own_port import OwnPort
from app.proxy.gateway import Gateway
from app.proxy.upstream.connector import MayConnect, Reach
from app.settings import Settings
from app.upstream_allow import LOOPBACK, AllowList


def data_plane(
    settings: Settings, clock: Callable[[], float], tls: ssl.SSLContext | None, receipt_key: ReceiptKey | None
) -> Gateway:
    """A gateway without routes yet. Raises: CannotServe."""
    key = settings.override_key
    return Gateway(
        clock,
        limits=_limits(settings),
        reach=Reach(tls, _may_connect(settings)),
        trusted_proxies=settings.trusted_proxies,
        receipt_key=receipt_key,
        server_timing=settings.server_timing,
        override_key=b"" if key is None else key.get_secret_value().encode(),
    )


def admin_port(settings: Settings) -> OwnPort:
    """How connections to the admin listener are read."""
    return OwnPort(own(fitting_places().admin, settings.admin_body_max_bytes), Addressees(settings.admin_hosts))


def ops_port(settings: Settings) -> OwnPort:
    """The same of the ops listener, where nobody has a body to bring."""
    return OwnPort(own(fitting_places().ops, 0), Addressees(settings.admin_hosts))


def allow_list(settings: Settings) -> AllowList:
    """Where upstreams may be. Raises: CannotServe."""
    try:
        return AllowList(settings.upstream_allow or LOOPBACK)
    except ValueError as refused:
        raise CannotServe(f"TURNBACK_UPSTREAM_ALLOW is not acceptable: {refused}.") from None


def _limits(settings: Settings) -> Limits:
    """The data plane's bounds, where a setting has a say."""
    limits = capped(settings.max_connections, settings.max_connections_per_address)
    drain_s = settings.rollback_drain_s
    return limits if drain_s is None else replace(limits, rollback_drain_s=drain_s)


def _may_connect(settings: Settings) -> MayConnect:
    """Where names may lead; a process that only serves and has no list believes those that decide."""
    if settings.upstream_allow is None and not settings.embedded:
        return lambda _host, _address: True
    return allow_list(settings).may_connect
