"""The workloads: bursts, streams and fixed rates against all servers at once, cycle by cycle.

Rule: every cycle runs its peers in shuffled order, and a single failure raises; figures of failing
proxies are nobody's.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from bench.cpu import children_on, split_cpus, tree_cpu_s
from bench.figures import Cost, Cycles, Samples
from bench.load import Loader, wrk_present
from bench.memory import idle_connection_kib, tree_rss_kib
from bench.message import INFER, LARGE, MANY_MODELS, MANY_PATHS, Message
from bench.peers import UNRECORDED, Peer, from_sources, with_models
from bench.servers import CHECKOUT, BenchFailed, Server, answered_by, free_port, python_module, running

Say = Callable[[str], None]

# Peers whose every request has an id of its own in further bursts.
NUMBERED = frozenset({"turnback", "turnback_compiled", "nginx"})
IDLE = frozenset({"turnback", "nginx", "haproxy", "envoy"})

# An upstream that has answered nothing for so long has nothing left to answer.
_QUIET_S = 0.25
_LOOK_S = 0.02
_RECORDING_S = 120
_KIB_PER_MB = 1e6 / 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; what has no cycles is left out.

    Attributes:
        peers: Names of those that take part; None for all.
        cycles: Saturating bursts of small exchanges, of `burst_s` each.
        numbered_cycles: Further bursts of `NUMBERED` peers.
        large_cycles: Bursts of 100 KiB both ways.
        stream_cycles: Loads of event streams, of `stream_waves` waves each.
        latency_cycles: Fixed-rate runs of `latency_s` each, at those of the peers' rates that are in `rates`.
        latency_of: Peers that take part in them; None for all.
        variant_cycles: Bursts of our data plane beside itself, with `models` models and without recording.
        recording_alone: Whether recording is measured without any exchange around it too.
        idle_connections: How many are held open to tell what one costs.
        tool: "wrk", "own", or None for wrk where it is installed.
    """

    cycles: int
    burst_s: float = 1.0
    peers: frozenset[str] | None = None
    numbered_cycles: int = 0
    large_cycles: int = 0
    stream_cycles: int = 0
    stream_waves: int = 2
    latency_cycles: int = 0
    latency_s: float = 1.0
    rates: frozenset[int] = frozenset()
    latency_of: frozenset[str] | None = None
    variant_cycles: int = 0
    models: int = 10_000
    recording_alone: bool = False
    idle_connections: int = 0
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """All servers, up at once."""

    upstream: Server
    proxies: Mapping[Peer, Server]
    loader: Loader
    folder: Path
    rng: Random
    say: Say

    # ------------------------------------------------------------------ saturation

    def bursts(self, plan: Plan) -> Cycles:
        """Small exchanges."""
        for peer, proxy in self.proxies.items():
            self.loader.warm_up(proxy, peer.connections, peer.message)
        return self._cycles("1 KiB", plan.cycles, self.proxies, lambda peer: self._cost(peer, plan, peer.message))

    def numbered_bursts(self, plan: Plan) -> Cycles:
        """The same with an id of its own in every request."""
        peers = [peer for peer in self.proxies if peer.name in NUMBERED]
        return self._cycles(
            "1 KiB, numbered", plan.numbered_cycles, peers, lambda peer: self._cost(peer, plan, INFER, numbered=True)
        )

    def large_bursts(self, plan: Plan) -> Cycles:
        """100 KiB both ways."""
        peers = [peer for peer in self.proxies if peer.relays]
        return self._cycles("100 KiB", plan.large_cycles, peers, lambda peer: self._cost(peer, plan, LARGE))

    def variants(self, plan: Plan) -> Cycles:
        """Our data plane beside itself; keyed by what varies."""
        ours = next((peer for peer in self.proxies if peer.name == "turnback"), None)
        if ours is None or not plan.variant_cycles:
            return []
        with ExitStack() as stack:
            many = with_models(plan.models)
            started = {peer: stack.enter_context(self.started(peer)) for peer in (many, UNRECORDED)}
            bench = replace(self, proxies={**self.proxies, **started})
            kinds = {
                "one_model": (ours, INFER),
                "many_paths": (ours, MANY_PATHS),
                "one_of_many_models": (many, INFER),
                "many_models": (many, MANY_MODELS),
                "unrecorded": (UNRECORDED, INFER),
            }
            return bench.kinds(plan, kinds)

    def kinds(self, plan: Plan, kinds: Mapping[str, tuple[Peer, Message]]) -> Cycles:
        """Bursts by peer and message."""
        for peer, message in kinds.values():
            self.loader.warm_up(self.proxies[peer], peer.connections, message)
        cycles: list[dict[str, Cost]] = []
        for number in range(plan.variant_cycles):
            self.say(f"variants: cycle {number + 1} of {plan.variant_cycles}")
            shuffled = self.rng.sample(list(kinds), len(kinds))
            cycles.append({name: self._cost(kinds[name][0], plan, kinds[name][1]) for name in shuffled})
        return cycles

    def recording_us(self) -> dict[str, float]:
        """What recording takes per exchange with no exchange around it. Raises: BenchFailed."""
        self.say("recording alone")
        proxy_cpus, _ = split_cpus()
        command = from_sources(python_module("bench.recording", "--json"))
        with children_on(proxy_cpus):
            done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=_RECORDING_S, check=False)
        if done.returncode:
            raise BenchFailed(f"recording alone failed: {done.stderr[-500:].decode(errors='replace')}")
        return {name: spread["median"] for name, spread in json.loads(done.stdout)["us_per_exchange"].items()}

    def _cycles(self, what: str, cycles: int, peers: Sequence[Peer] | Mapping[Peer, Server], cost: "CostOf") -> Cycles:
        done: list[dict[str, Cost]] = []
        for number in range(cycles):
            self.say(f"{what}: cycle {number + 1} of {cycles}")
            done.append({peer.name: cost(peer) for peer in self._taking_part(peers, number)})
        return done

    def _taking_part(self, peers: Sequence[Peer] | Mapping[Peer, Server], number: int) -> list[Peer]:
        """The peers of one cycle, shuffled."""
        taking_part = [peer for peer in peers if number % peer.every == 0]
        return self.rng.sample(taking_part, len(taking_part))

    def _cost(self, peer: Peer, plan: Plan, message: Message, *, numbered: bool = False) -> Cost:
        proxy = self.proxies[peer]
        answered, cpu_s = answered_by(self.upstream), tree_cpu_s(proxy.pid)
        burst = self.loader.burst(proxy, peer.connections, plan.burst_s, message, numbered=numbered)
        worked = self._worked(peer, burst.completed, answered) if peer.relays else burst.completed
        used_s = tree_cpu_s(proxy.pid) - cpu_s
        return Cost(used_s / worked * 1e6, burst.completed / burst.seconds)

    def _worked(self, peer: Peer, completed: int, answered: int) -> int:
        """How many exchanges of a burst the upstream saw. Raises: BenchFailed."""
        # What the load had in flight when it stopped was work for the proxy too.
        most = completed + peer.connections
        worked = self._settled_count(answered + most) - answered
        # On a busy machine a straggler of the burst before may come in late.
        if not completed <= worked <= most + max(other.connections for other in self.proxies):
            raise BenchFailed(f"{peer.name}: the load counted {completed} exchanges, the upstream {worked}")
        return worked

    def _settled_count(self, most: int) -> int:
        """What the upstream has answered once nothing more comes; `most` is known to be the end."""
        answered, quiet_since = answered_by(self.upstream), monotonic()
        while answered < most and monotonic() - quiet_since < _QUIET_S:
            sleep(_LOOK_S)
            before, answered = answered, answered_by(self.upstream)
            if answered != before:
                quiet_since = monotonic()
        return answered

    # ------------------------------------------------------------------ streams and fixed rates

    def streams(self, plan: Plan) -> tuple[Cycles, Samples]:
        """CPU per event, and what each peer added to the time to the first one, in ms."""
        peers = [peer for peer in self.proxies if peer.streams]
        cycles: list[dict[str, Cost]] = []
        added: list[dict[str, float]] = []
        for number in range(plan.stream_cycles):
            self.say(f"streams: cycle {number + 1} of {plan.stream_cycles}")
            costs, added_ms = self._stream_cycle(self._taking_part(peers, number), plan)
            cycles.append(costs)
            added.append(added_ms)
        return cycles, added

    def _stream_cycle(self, peers: Sequence[Peer], plan: Plan) -> tuple[dict[str, Cost], dict[str, float]]:
        """As `streams`, of one cycle; the direct path is played once for each number of streams."""
        costs: dict[str, Cost] = {}
        first_ms: dict[Peer | int, float] = {}
        runs: list[Peer | int] = [*peers, *{peer.streams for peer in peers}]
        for run in self.rng.sample(runs, len(runs)):
            if isinstance(run, Peer):
                costs[run.name], first_ms[run] = self._stream(run, plan)
            else:
                first_ms[run] = self.loader.streams(self.upstream, run, plan.stream_waves).first_p50_ms
        return costs, {peer.name: first_ms[peer] - first_ms[peer.streams] for peer in peers}

    def _stream(self, peer: Peer, plan: Plan) -> tuple[Cost, float]:
        proxy = self.proxies[peer]
        cpu_s, start = tree_cpu_s(proxy.pid), monotonic()
        got = self.loader.streams(proxy, peer.streams, plan.stream_waves)
        used_s, seconds = tree_cpu_s(proxy.pid) - cpu_s, monotonic() - start
        return Cost(used_s / got.events * 1e6, got.events / seconds), got.first_p50_ms

    def added_p50_us(self, plan: Plan) -> dict[int, Samples]:
        """By rate and cycle, what each peer added to the median latency of the direct path, in µs."""
        peers = [peer for peer in self.proxies if plan.latency_of is None or peer.name in plan.latency_of]
        by_rate: dict[int, list[dict[str, float]]] = {}
        for number in range(plan.latency_cycles):
            self.say(f"latency: cycle {number + 1} of {plan.latency_cycles}")
            taking_part = self._taking_part(peers, number)
            for rate in plan.rates:
                asked = [peer for peer in taking_part if rate in peer.rates]
                if asked:
                    by_rate.setdefault(rate, []).append(self._added(asked, rate, plan))
        return dict(by_rate)

    def _added(self, peers: Sequence[Peer], rate: int, plan: Plan) -> dict[str, float]:
        servers = [self.upstream, *(self.proxies[peer] for peer in peers)]
        self.rng.shuffle(servers)
        p50_us = {server: self.loader.latency_p50_us(server, rate, plan.latency_s) for server in servers}
        return {peer.name: p50_us[self.proxies[peer]] - p50_us[self.upstream] for peer in peers}

    # ------------------------------------------------------------------ memory

    def rss_mb(self) -> dict[str, float]:
        """Of each proxy's process tree, now."""
        return {peer.name: tree_rss_kib(proxy.pid) / _KIB_PER_MB for peer, proxy in self.proxies.items()}

    def idle_kib(self, connections: int) -> dict[str, float]:
        """For each connection; of fresh proxies, whose memory no load has stretched."""
        idle_kib = {}
        for peer in self.proxies:
            if connections and peer.name in IDLE:
                self.say(f"memory: {connections} idle connections to {peer.name}")
                with self.started(peer) as fresh:
                    idle_kib[peer.name] = idle_connection_kib(fresh, connections, self.loader.cpus)
        return idle_kib

    @contextmanager
    def started(self, peer: Peer) -> Iterator[Server]:
        """One more proxy in front of the same upstream."""
        self.say(f"starting {peer.name}")
        port = free_port()
        with TemporaryDirectory(prefix=f"{peer.name}-", dir=self.folder) as folder:
            command = list(peer.command(port, self.upstream.port, Path(folder)))
            proxy_cpus, _ = split_cpus()
            with running(peer.name, command, port, proxy_cpus, message=peer.message, ready_s=peer.ready_s) as server:
                yield server


CostOf = Callable[[Peer], Cost]


@contextmanager
def bench_of(plan: Plan, peers: Sequence[Peer], rng: Random, say: Say) -> Iterator[Bench]:
    """Start upstream and peers, each ready and proven to relay; stop them whatever happens."""
    _, load_cpus = split_cpus()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="turnback-bench-")))
        port = free_port()
        command = python_module("bench.upstream", port)
        upstream = stack.enter_context(running("upstream", command, port, load_cpus))
        loader = Loader(plan.tool or ("wrk" if wrk_present() else "own"), load_cpus, folder)
        bench = Bench(upstream, {}, loader, folder, rng, say)
        proxies = {peer: stack.enter_context(bench.started(peer)) for peer in peers}
        yield replace(bench, proxies=proxies)
