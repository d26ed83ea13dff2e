"""Active health probes: asks a version's upstreams whether they are ready, from this process.

Rule: a probe decides which of several upstreams is preferred and when an open brake may be released;
it never opens a brake and is never evidence.
"""

from collections.abc import Callable, Sequence
from typing import Final

from app.proxy.bounds.limits import Limits
from app.proxy.http1.framing import CRLF
from app.proxy.http1.response_head import ResponseHead
from app.proxy.upstream.connection import UpstreamConnection
from app.proxy.upstream.endpoint import Upstream

_READY: Final = range(200, 300)


class Probe:
    """One question to one upstream, answered by its status, or by a connection where no path is known."""

    __slots__ = ("_connection", "_path", "_released", "_told", "body_ended", "started", "to_head", "upstream")

    def __init__(self, upstream: Upstream, path: str | None, now: float, told: Callable[["Probe", bool], None]) -> None:
        """Args: told: Called once, with whether the upstream is ready."""
        self.upstream = upstream
        self.started = now
        self.to_head = False
        self.body_ended = True
        # Whether the connection is its upstream's again, because the answer was whole.
        self._released = False
        self._path = path
        self._told: Callable[[Probe, bool], None] | None = told
        self._connection = UpstreamConnection(upstream)

    def start(self) -> None:
        self._connection.open_for(self)

    def end(self, *, ready: bool) -> None:
        """Tell, once, and let go of the connection."""
        told, self._told = self._told, None
        if told is not None:
            if self._released:
                self._connection.close()
            else:
                self._connection.drop()
            told(self, ready)

    # ------------------------------------------------------------------ called by the upstream connection

    def upstream_connected(self) -> None:
        if self._path is None:
            self.end(ready=True)
            return
        upstream = self.upstream
        target = b"GET %b%b HTTP/1.1" % (upstream.base, self._path.encode())
        fields = (target, upstream.host_line, b"user-agent: turnback", b"accept: */*", b"connection: close", CRLF)
        self._connection.write(CRLF.join(fields))

    def connect_failed(self, *, own_fault: bool) -> None:  # noqa: ARG002 -- not reached is not reached
        self.end(ready=False)

    def head_received(self, head: ResponseHead, framing: int, tail: bytes, ended: bool) -> None:  # noqa: ARG002 -- the status says all
        self._released = ended
        self.end(ready=head.status in _READY)

    def body_received(self, data: bytes, ended: bool, wire: bytes) -> None:
        """Never reached: the connection is dropped at the head."""

    def upstream_broke(self, *, stale: bool, malformed: bool) -> None:  # noqa: ARG002 -- broken is broken
        self.end(ready=False)

    def upstream_full(self) -> None: ...
    def upstream_drained(self) -> None: ...


class Prober:
    """Probes all upstreams of one version now and then, and more often while its brake is open."""

    __slots__ = ("_due", "_limits", "_now", "_on_ready", "_path", "_running", "_upstreams")

    def __init__(
        self, path: str | None, upstreams: Sequence[Upstream], limits: Limits, on_ready: Callable[[float], None]
    ) -> None:
        """Probe nothing yet.

        Args:
            path: Asked for; None asks for a connection, and only while the brake is open.
            upstreams: All of the version.
            limits: How often, and how long an answer may take.
            on_ready: Called with the time whenever an upstream is found ready.
        """
        self._path = path
        self._upstreams = upstreams
        self._limits = limits
        self._on_ready = on_ready
        self._running: dict[Upstream, Probe] = {}
        self._due = self._now = 0.0

    @property
    def is_asking(self) -> bool:
        """Whether a probe is under way."""
        return bool(self._running)

    def sweep(self, now: float, *, watched: bool, urgent: bool) -> None:
        """End probes that take too long and begin those that are due.

        Args:
            now: The monotonic clock's reading.
            watched: Whether anybody needs to know; without, only urgent probes are made.
            urgent: Whether a brake waits for them.
        """
        self._now = now
        for probe in list(self._running.values()):
            if now - probe.started > self._limits.probe_s:
                probe.end(ready=False)
        if urgent or (watched and self._path is not None and now >= self._due):
            self._due = now + self._limits.probe_every_s
            for upstream in self._upstreams:
                self._begin(upstream, now)

    def close(self) -> None:
        for probe in list(self._running.values()):
            probe.end(ready=False)

    def _begin(self, upstream: Upstream, now: float) -> None:
        if upstream not in self._running:
            probe = self._running[upstream] = Probe(upstream, self._path, now, self._told)
            probe.start()

    def _told(self, probe: Probe, ready: bool) -> None:
        self._running.pop(probe.upstream, None)
        probe.upstream.probed(ready=ready)
        if ready:
            self._on_ready(self._now)
