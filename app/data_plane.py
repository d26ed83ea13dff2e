"""One process' data plane and its own ports, made as its settings say.

Rule: nothing but settings in and parts out; main starts them, and ends them.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import structlog
from pydantic import SecretStr

from app import readiness, telemetry
from app.domain.catalog.receipt import ReceiptKey
from app.errors import CannotServe
from app.feedback.desk import FeedbackDesk, feedback_desk
from app.feedback.keys import Sources, receipt_keys, sources
from app.ops import Check
from app.proxy.bounds.admission import capped, fitting_places, own
from app.proxy.bounds.limits import Limits
from app.proxy.downstream.addressed import Addressees
from app.proxy.downstream.own_port import OwnPort
from app.proxy.gateway import Gateway
from app.proxy.metrics import ObserverFigures, RecorderFigures, UpstreamFigures
from app.proxy.upstream.connector import MayConnect, Reach
from app.recording.journal import Journal
from app.recording.recovery import DeadBoots
from app.replica.clock import DatabaseClock
from app.replica.figures import RoutingFigures
from app.replica.replica import Pace, Replica
from app.replica.snapshot import Snapshot
from app.settings import Settings
from app.store.pg.contact import Contact
from app.store.pg.database import Database
from app.upstream_allow import LOOPBACK, AllowList

LAST_PUSHES_MAX = 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Front:
    """What meets clients; it needs no database.

    Attributes:
        receipt_keys: The first signs receipts, all are believed.
        sources: Who may give labels.
    """

    gateway: Gateway
    receipt_keys: tuple[ReceiptKey, ...]
    sources: Sources


@dataclass(frozen=True, slots=True)
class ServingParts:
    """Everything of a process that answers inference requests."""

    gateway: Gateway
    journal: Journal
    replica: Replica
    feedback: FeedbackDesk

    async def push_all(self) -> None:
        """Write the last tallies; one push may not hold all of them after an outage."""
        for _ in range(LAST_PUSHES_MAX):
            written = await self.replica.push()
            left = self.gateway.waiting
            if left == 0:
                return
            if not written:
                break
        log.error("tallies.not_all_written", rows=left)

    def contacts(self) -> Iterator[Contact]:
        """What its loops find at Postgres."""
        yield from self.replica.status.contacts
        yield self.feedback.intake.contact

    def checks(self) -> Iterator[tuple[str, Check]]:
        """What it needs to be ready."""
        brakes = (f"{brake.model}/{brake.version}" for brake in self.gateway.open_brakes())
        yield from readiness.of_replica(self.replica.status, self.gateway.table.revision, brakes)
        up = self.journal.is_up
        yield "journal", Check(up, vital=False, detail="written" if up else "not writable")

    def figures(self) -> Iterator[telemetry.Source]:
        """What it counts."""
        yield RecorderFigures(self.gateway.recorder, time.monotonic)
        yield ObserverFigures(self.gateway.observer)
        yield UpstreamFigures(self.gateway)
        yield RoutingFigures(lambda: self.gateway.table, self.replica)
        yield self.feedback.figures


def front(settings: Settings, clock: Callable[[], float], tls: ssl.SSLContext) -> Front:
    """Raises: CannotServe."""
    keys = receipt_keys(_secret(settings.secret_key), settings.state_dir, embedded=settings.embedded)
    return Front(data_plane(settings, clock, tls, keys[0]), keys, label_sources(settings))


def serving(
    front: Front, settings: Settings, database: Database, clock: DatabaseClock, boot: str, role: str
) -> ServingParts:
    """The data plane with its journal, its replica and its feedback, each made of those before it."""
    gateway, journals = front.gateway, settings.state_dir / "journal"
    replica = Replica(
        database,
        boot,
        role,
        data_plane=gateway,
        clock=clock,
        pace=Pace(settings.poll_interval_s, settings.flush_interval_s, settings.canary_max_stale_s),
        dead_boots=DeadBoots(journals).find,
        snapshot=Snapshot(settings.state_dir),
    )
    feedback = feedback_desk(
        database,
        settings.state_dir,
        boot,
        keys=front.receipt_keys,
        is_ahead=gateway.receipts.is_ahead,
        sources=front.sources,
        table=lambda: gateway.table,
        keep_days=settings.tally_keep_days,
        clock=clock.now,
        monotonic=time.monotonic,
    )
    return ServingParts(gateway, Journal(journals, boot, gateway.recorder), replica, feedback)


def label_sources(settings: Settings) -> Sources:
    """Who may give labels. Raises: CannotServe."""
    return sources(_secret(settings.feedback_keys))


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


def _secret(given: SecretStr | None) -> str | None:
    return None if given is None else given.get_secret_value()


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
