"""A run of `bench proxy` for people: Markdown with a picture, and the document it was made from."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import plot, written
from bench.figures import ALIKE, COMPILED, DEARER, SUBJECT, Document

NAME = "proxy"
_ORDER = (SUBJECT, COMPILED, *ALIKE, *DEARER)
_LITELLM = (
    "LiteLLM does far more for each request than forward it: it parses a chat, prices it and runs its callbacks. Here "
    "it answers by `mock_response`, so it is spared the way to the upstream. Its ratio is the price of that class of "
    "tool, not of proxying."
)
_LOADS = (
    ("1 KiB both ways", None, "exchange"),
    ("1 KiB, an id of its own in every request", "numbered", "exchange"),
    ("100 KiB both ways", "large", "exchange"),
    ("Event streams, 10 ms between events", "stream", "event"),
)


def write(document: Document, folder: Path) -> Path:
    """Write `proxy.md`, `proxy.svg` and `proxy.json` into a folder that exists; the first one's path."""
    return written.write(NAME, folder, document, plot.draw, markdown)


def markdown(document: Document) -> str:
    """The whole page."""
    blocks = [
        "# The proxy beside its peers",
        _setting(document),
        f"![CPU per exchange, and ours over nginx's]({NAME}.svg)",
        "## Goals",
        _goals(document["goals"]),
        *_loads(document),
        *_latency(document),
        *_memory(document),
        *_ourselves(document),
        *_not_run(document["not_run"]),
    ]
    return "\n\n".join(blocks) + "\n"


def _setting(document: Document) -> str:
    machine, python = document["machine"], document["python"]
    shared = "; both are the same CPU" if machine["shared_cpu"] else ""
    build = f"{python['implementation']} {python['version']}, {python['compiler']}"
    cpus = f"proxies on CPU {machine['proxy_cpu']}, load and upstream on CPU {machine['load_cpu']}"
    lines = [
        f"- measured: {document['measured_at']}, {document['cycles']} cycles, {document['seconds']:.0f} s",
        f"- machine: {machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; {cpus}{shared}",
        f"- load average at the start: {machine['load_average']}",
        f"- Python: {build}, PGO {_said(python['pgo'])}, LTO {_said(python['lto'])}",
        f"- load: {document['load']}; all figures: [{NAME}.json]({NAME}.json); method: `docs/benchmarks.md`",
    ]
    return "\n".join(lines)


def _said(built_with: bool | None) -> str:
    return "not said" if built_with is None else "yes" if built_with else "no"


def _goals(goals: Document) -> str:
    rows = [(goal["reach"], _figure(goal["measured"]), _met(goal["met"])) for goal in goals.values()]
    return table(("reach", "measured", "met"), rows)


def _met(met: bool | None) -> str:
    return "not measured" if met is None else "yes" if met else "**no**"


def _loads(document: Document) -> Iterator[str]:
    for title, key, unit in _LOADS:
        part = document if key is None else document.get(key)
        if part:
            yield f"## {title}"
            yield _load(part, unit)
    if "litellm" in document["cpu_us"]:
        yield _LITELLM


def _load(part: Document, unit: str) -> str:
    head = [
        "proxy",
        f"CPU µs per {unit}",
        "quartiles",
        "least and most",
        "bursts",
        "our CPU over theirs",
        "quartiles",
        "per second",
    ]
    added = part.get("added_first_ms")
    rows = [_load_row(part, name, added) for name in _ordered(part["cpu_us"])]
    return table((*head, "added to first event, ms") if added else head, rows)


def _load_row(part: Document, name: str, added: Document | None) -> list[str]:
    spread = part["cpu_us_range"][name]
    # Of what costs many times more, the document has the inverse.
    ratio, quartiles = part.get(f"ratio_{name}"), part.get(f"ratio_{name}_iqr")
    upside_down = "1/" if name in DEARER and ratio is not None else ""
    return [
        name,
        _figure(part["cpu_us"][name]),
        f"{_figure(spread['q1'])}–{_figure(spread['q3'])}",
        f"{_figure(spread['min'])}–{_figure(spread['max'])}",
        str(spread["bursts"]),
        upside_down + _figure(ratio),
        _between(quartiles, upside_down),
        f"{part['rps'][name]:,}",
        *([_figure(added.get(name))] if added else []),
    ]


def _between(quartiles: Sequence[float] | None, before: str = "") -> str:
    return "" if quartiles is None else "–".join(before + _figure(quartile) for quartile in quartiles)


def _latency(document: Document) -> Iterator[str]:
    added, spread = document["added_p50_us"], document["added_p50_us_iqr"]
    if not added:
        return
    rates = sorted({rate for by_rate in added.values() for rate in by_rate}, key=int)
    yield "## Added to the median latency at a fixed rate, µs"
    rows = [
        [name, *(f"{_figure(added[name].get(rate))} {_in_brackets(spread[name].get(rate))}" for rate in rates)]
        for name in _ordered(added)
    ]
    yield table(["proxy", *(f"{int(rate):,}/s (quartiles)" for rate in rates)], rows)
    for rate, beside in document["added_p50_beside_nginx"].items():
        yield (
            f"At {int(rate):,}/s Turnback adds {_figure(beside['more_us'])} µs more than nginx in the same cycle "
            f"(quartiles {_between(beside['more_us_iqr'])}, {beside['cycles']} cycles)."
        )


def _in_brackets(quartiles: Sequence[float] | None) -> str:
    return "" if quartiles is None else f"({_between(quartiles)})"


def _memory(document: Document) -> Iterator[str]:
    memory = document.get("memory")
    if memory:
        idle = memory["idle_connection_kib"]
        yield "## Memory"
        rows = [[name, _figure(rss_mb), _figure(idle.get(name))] for name, rss_mb in _sorted(memory["rss_mb"])]
        idle_head = f"KiB per idle connection, of {memory['idle_connections']}"
        yield table(("proxy", "resident after all load, MB", idle_head), rows)


def _ourselves(document: Document) -> Iterator[str]:
    many, recording = document.get("many_models"), document.get("recording")
    if many and recording:
        yield "## Turnback beside itself"
        yield table(
            ("what", "ratio of CPU", "quartiles"),
            [
                [f"{many['models']:,} models over 1, one of them asked", *_ratio(many, "ratio")],
                [f"{many['models']:,} models over 1, as many asked as paths of the one", *_ratio(many, "ratio_spread")],
                ["recording over none", *_ratio(recording, "ratio")],
            ],
        )
        yield (
            f"Recording costs {_figure(recording['cost_us'])} µs per exchange "
            f"(quartiles {_between(recording['cost_us_iqr'])}){_alone(recording['alone_us'])}."
        )


def _alone(alone_us: Document) -> str:
    if not alone_us:
        return ""
    return (
        f"; with no exchange around it the tally takes {_figure(alone_us['tally'])} µs, "
        f"tally and journal {_figure(alone_us['tally_and_journal'])} µs"
    )


def _ratio(part: Document, name: str) -> list[str]:
    return [_figure(part[name]), _between(part[f"{name}_iqr"])]


def _not_run(not_run: Document) -> Iterator[str]:
    if not_run:
        yield "## Not run"
        yield "\n".join(f"- {name}: {why}" for name, why in not_run.items())


def _ordered(names: Document) -> list[str]:
    return [name for name in _ORDER if name in names]


def _sorted(figures: Document) -> list[tuple[str, Any]]:
    return [(name, figures[name]) for name in _ordered(figures)]


def _figure(number: float | None) -> str:
    """As it is, with thousands set apart; nothing for what was not measured."""
    return "" if number is None else f"{number:,g}" if abs(number) < 1e5 else f"{number:,.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is words, the others are figures."""
    line = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, line, *rows))
