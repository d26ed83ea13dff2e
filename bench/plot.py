"""One run of `bench proxy` as a picture: what each proxy costs, and ours beside nginx under every load."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import COMPILED, SUBJECT, Document

_OURS, _OTHERS = "#1f6feb", "#9aa4b2"
# Where a run's document has a ratio to nginx, and what to call it.
_LOADS = ((None, "1 KiB"), ("numbered", "1 KiB, numbered"), ("large", "100 KiB"), ("stream", "stream"))


def draw(document: Document, path: Path) -> None:
    """Write an SVG file; the same document gives the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "turnback", "font.size": 9}):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        cost, ratio = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_costs(cost, document)
        _draw_ratios(ratio, ratios_to_nginx(document))
        figure.savefig(path, format="svg", metadata={"Date": None})


def ratios_to_nginx(document: Document) -> dict[str, tuple[float, float, float]]:
    """First quartile, median and third of our cost over nginx's, by load; loads without it are left out."""
    found = {}
    for key, name in _LOADS:
        part: dict[str, Any] = document if key is None else document.get(key, {})
        if part.get("ratio_nginx") is not None:
            lower, upper = part["ratio_nginx_iqr"]
            found[name] = (lower, part["ratio_nginx"], upper)
    return found


def _draw_costs(axes: Axes, document: Document) -> None:
    dearest_first = sorted(document["cpu_us"], key=document["cpu_us"].__getitem__, reverse=True)
    for place, name in enumerate(dearest_first):
        cpu_us, spread = document["cpu_us"][name], document["cpu_us_range"][name]
        axes.barh(place, cpu_us, color=_OURS if name in {SUBJECT, COMPILED} else _OTHERS)
        axes.plot([spread["min"], spread["max"]], [place, place], color="black", linewidth=1)
        axes.annotate(f" {cpu_us:,g}", (spread["max"], place), va="center")
    axes.set_yticks(range(len(dearest_first)), dearest_first)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_xlabel("CPU µs per 1 KiB exchange: median, least and most")


def _draw_ratios(axes: Axes, ratios: dict[str, tuple[float, float, float]]) -> None:
    for place, (lower, median, upper) in enumerate(ratios.values()):
        axes.plot([lower, upper], [place, place], color=_OURS, linewidth=2)
        axes.plot(median, place, "o", color=_OURS)
        axes.annotate(f"{median:g}", (median, place), xytext=(0, 6), textcoords="offset points", ha="center")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.invert_yaxis()
    axes.margins(x=0.2, y=0.25)
    axes.set_xlabel("our CPU over nginx's, quartiles")
