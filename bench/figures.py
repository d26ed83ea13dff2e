"""From what was measured to what is reported: medians, quartiles, ranges, ratios paired inside a cycle.

Rule: a ratio is taken inside one cycle before any median, so that a machine that slows down slows both
sides of it. What did not run is None, never a number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from bench.message import EVENTS

Document = dict[str, Any]

SUBJECT = "turnback"
COMPILED = "turnback_compiled"
# Proxies of our kind: what we cost of what they cost. The others: how many times cheaper we are.
ALIKE = ("nginx", "haproxy", "envoy")
DEARER = ("fastapi_aiohttp", "fastapi_httpx", "litellm")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one burst took.

    Attributes:
        cpu_us: Of the proxy, for each exchange or event.
        rps: Exchanges or events a second.
    """

    cpu_us: float
    rps: float


# One burst of each peer that took part in a cycle.
Cycles = Sequence[Mapping[str, Cost]]
Samples = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """Every cycle of every workload; what was not measured is empty.

    Attributes:
        infer, numbered, large: Saturating bursts.
        stream: CPU per event.
        added_first_ms: To the time to a stream's first event, over the direct path.
        added_p50_us: To the median latency, over the direct path, by rate.
        variants: Of our own data plane, by what varies.
        recording_us: What recording takes per exchange with no exchange around it.
        rss_mb: After all load.
        idle_kib: Resident memory for each idle connection.
    """

    infer: Cycles
    numbered: Cycles = ()
    large: Cycles = ()
    stream: Cycles = ()
    added_first_ms: Samples = ()
    added_p50_us: Mapping[int, Samples] = field(default_factory=dict)
    variants: Cycles = ()
    recording_us: Mapping[str, float] = field(default_factory=dict)
    rss_mb: Mapping[str, float] = field(default_factory=dict)
    idle_kib: Mapping[str, float] = field(default_factory=dict)
    idle_connections: int = 0
    models: int = 0


def summary(measured: Measured) -> Document:
    """All figures of a run."""
    numbered = ratios(measured.numbered, SUBJECT, ("nginx",))
    document = {
        **costs(measured.infer),
        **ratios(measured.infer, SUBJECT, (*ALIKE, *DEARER)),
        "ratio_nginx_numbered": numbered["ratio_nginx"],
        "ratio_nginx_numbered_iqr": numbered["ratio_nginx_iqr"],
        **_latency(measured.added_p50_us),
    }
    compiled = _of_compiled(measured.infer)
    for name, cycles in (("numbered", measured.numbered), ("large", measured.large), ("stream", measured.stream)):
        if cycles:
            document[name] = costs(cycles) | ratios(cycles, SUBJECT, _ran(cycles)) | _of_compiled(cycles)
    if measured.stream:
        document["stream"] |= _first_events(measured.added_first_ms)
    if measured.variants:
        document["many_models"] = _many_models(measured.variants) | {"models": measured.models}
        document["recording"] = _recording(measured.variants) | {"alone_us": dict(measured.recording_us)}
    if measured.rss_mb:
        document["memory"] = _memory(measured)
    return document | compiled


def costs(cycles: Cycles) -> Document:
    """CPU and throughput of each peer on its own."""
    by_peer = {name: [cycle[name] for cycle in cycles if name in cycle] for name in _ran(cycles)}
    return {
        "cpu_us": {name: rounded_median([cost.cpu_us for cost in bursts], 1) for name, bursts in by_peer.items()},
        "cpu_us_range": {name: _range([cost.cpu_us for cost in bursts]) for name, bursts in by_peer.items()},
        "rps": {name: round(median(cost.rps for cost in bursts)) for name, bursts in by_peer.items()},
    }


def _ran(cycles: Cycles) -> list[str]:
    return sorted({name for cycle in cycles for name in cycle})


def _range(samples: Sequence[float]) -> Document:
    lower, upper = _quartiles(samples, 1)
    return {
        "min": round(min(samples), 1),
        "q1": lower,
        "q3": upper,
        "max": round(max(samples), 1),
        "bursts": len(samples),
    }


def ratios(cycles: Cycles, subject: str, peers: Sequence[str]) -> Document:
    """For each peer its ratio to the subject, with quartiles; None where they never met in a cycle."""
    document: Document = {}
    for peer in (*ALIKE, *DEARER):
        if peer in peers:
            one, other = (peer, subject) if peer in DEARER else (subject, peer)
            document |= _with_quartiles(f"ratio_{peer}", paired(cycles, one, other), 1 if peer in DEARER else 2)
    return document


def paired(cycles: Cycles, one: str, other: str) -> list[float]:
    """How many times what `other` costs `one` costs, cycle by cycle."""
    return [cycle[one].cpu_us / cycle[other].cpu_us for cycle in cycles if one in cycle and other in cycle]


def _of_compiled(cycles: Cycles) -> Document:
    if COMPILED not in _ran(cycles):
        return {}
    return {"compiled": ratios(cycles, COMPILED, [name for name in _ran(cycles) if name != SUBJECT])}


def _with_quartiles(name: str, samples: Sequence[float], digits: int) -> Document:
    return {name: rounded_median(samples, digits), f"{name}_iqr": quartiles(samples, digits)}


def _latency(by_rate: Mapping[int, Samples]) -> Document:
    """Added medians by peer and rate; ours beside nginx's."""
    medians: Document = {}
    spread: Document = {}
    beside: Document = {}
    for rate, cycles in sorted(by_rate.items()):
        added = _columns(cycles)
        for name, samples in added.items():
            medians.setdefault(name, {})[str(rate)] = rounded_median(samples, 0)
            spread.setdefault(name, {})[str(rate)] = quartiles(samples, 0)
        if SUBJECT in added and "nginx" in added:
            beside[str(rate)] = _beside_nginx(cycles, added, SUBJECT)
            if COMPILED in added:
                beside[str(rate)]["compiled"] = _beside_nginx(cycles, added, COMPILED)
    return {"added_p50_us": medians, "added_p50_us_iqr": spread, "added_p50_beside_nginx": beside}


def _columns(cycles: Samples) -> dict[str, list[float]]:
    names = sorted({name for cycle in cycles for name in cycle})
    return {name: [cycle[name] for cycle in cycles if name in cycle] for name in names}


def _beside_nginx(cycles: Samples, added: Mapping[str, Sequence[float]], name: str) -> Document:
    """The ratio is one of medians, for what is added in one cycle may be nothing at all."""
    ours, theirs = median(added[name]), median(added["nginx"])
    more = [cycle[name] - cycle["nginx"] for cycle in cycles if name in cycle and "nginx" in cycle]
    ratio = round(ours / theirs, 2) if theirs > 0 else None
    return {"ratio": ratio, **_with_quartiles("more_us", more, 0), "cycles": len(more)}


def _first_events(cycles: Samples) -> Document:
    added = _columns(cycles)
    return {
        "added_first_ms": {name: rounded_median(samples, 2) for name, samples in added.items()},
        "added_first_ms_iqr": {name: quartiles(samples, 2) for name, samples in added.items()},
        "events_per_stream": EVENTS + 1,
    }


def _many_models(cycles: Cycles) -> Document:
    return {
        **_with_quartiles("ratio", paired(cycles, "one_of_many_models", "one_model"), 3),
        **_with_quartiles("ratio_spread", paired(cycles, "many_models", "many_paths"), 3),
        **costs(cycles),
    }


def _recording(cycles: Cycles) -> Document:
    both = [cycle for cycle in cycles if "one_model" in cycle and "unrecorded" in cycle]
    cost_us = [cycle["one_model"].cpu_us - cycle["unrecorded"].cpu_us for cycle in both]
    return {
        **_with_quartiles("ratio", paired(cycles, "one_model", "unrecorded"), 3),
        **_with_quartiles("cost_us", cost_us, 1),
    }


def _memory(measured: Measured) -> Document:
    return {
        "rss_mb": {name: round(rss_mb, 1) for name, rss_mb in measured.rss_mb.items()},
        "idle_connection_kib": {name: round(kib, 1) for name, kib in measured.idle_kib.items()},
        "idle_connections": measured.idle_connections,
    }


def rounded_median(samples: Sequence[float], digits: int) -> float | None:
    return round(median(samples), digits) if samples else None


def quartiles(samples: Sequence[float], digits: int) -> list[float] | None:
    """The first and the third; of a single sample twice itself."""
    return _quartiles(samples, digits) if samples else None


def _quartiles(samples: Sequence[float], digits: int) -> list[float]:
    if len(samples) == 1:
        return [round(samples[0], digits)] * 2
    lower, _, upper = quantiles(samples, method="inclusive")
    return [round(lower, digits), round(upper, digits)]
