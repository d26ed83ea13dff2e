"""One run of `bench decide` as a picture: false rollbacks, delay and extra bad answers of every judge."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.judging.intervals import Document
from bench.judging.situations import TURNBACK

_COLOURS: Mapping[str, str] = {
    TURNBACK: "#1f6feb",
    "argo_rollouts": "#d97706",
    "flagger": "#7c3aed",
    "kayenta": "#059669",
    "growthbook": "#db2777",
    "peeking_z": "#9aa4b2",
}
# So that a share of zero has a place on a logarithmic axis.
_LEAST_SHARE = 1e-4
_WORSE = ("1.5%", "2%", "5%", "50%")
_ALPHA = 0.01


def draw(document: Document, path: Path) -> None:
    """Write an SVG file; the same document gives the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "turnback", "font.size": 9}):
        figure = Figure(figsize=(9.0, 7.0), layout="constrained")
        grid = figure.add_gridspec(2, 2)
        false_alarms = figure.add_subplot(grid[0, :])
        _draw_false_alarms(false_alarms, document["situations"])
        _draw_by_rate(figure.add_subplot(grid[1, 0]), document["situations"], "median_exchanges")
        _draw_by_rate(figure.add_subplot(grid[1, 1]), document["situations"], "mean_extra_bad")
        figure.legend(*false_alarms.get_legend_handles_labels(), loc="outside lower center", ncols=len(_COLOURS))
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_false_alarms(axes: Axes, situations: Document) -> None:
    healthy = {name: each["judges"] for name, each in situations.items() if each["healthy"]}
    for shift, (judge, colour) in _beside():
        shares = [judges[judge]["rolled_back"] for judges in healthy.values()]
        values = [max(_LEAST_SHARE, share["share"]) for share in shares]
        lows = [max(_LEAST_SHARE, share["ci95"][0]) for share in shares]
        highs = [share["ci95"][1] for share in shares]
        places = [place + shift for place in range(len(healthy))]
        axes.vlines(places, lows, highs, color=colour, linewidth=1)
        axes.plot(places, values, "o", color=colour, markersize=4, label=judge.replace("_", " "))
    axes.axhline(_ALPHA, color="black", linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(
        range(len(healthy)), [name.removeprefix("same, ").replace(" while ", "\nwhile ") for name in healthy]
    )
    axes.set_ylabel("healthy versions turned back")


def _draw_by_rate(axes: Axes, situations: Document, figure: str) -> None:
    rates = [name for name in _WORSE if name in situations]
    for shift, (judge, colour) in _beside():
        for place, rate in enumerate(rates):
            found = situations[rate]["judges"][judge][figure]
            if found["value"]:
                axes.plot(place + shift, found["value"], "o", color=colour, markersize=4)
                low, high = found["ci95"]
                axes.vlines(place + shift, low, found["value"] if high is None else high, color=colour, linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(range(len(rates)), rates)
    axes.set_xlabel("bad answers of the canary (stable: 1%)")
    axes.set_ylabel(
        {"median_exchanges": "median exchanges to rollback", "mean_extra_bad": "mean extra bad answers"}[figure]
    )


def _beside() -> Iterator[tuple[float, tuple[str, str]]]:
    """Each judge a little to the right of the one before."""
    middle = (len(_COLOURS) - 1) / 2.0
    for place, judge in enumerate(_COLOURS.items()):
        yield (place - middle) * 0.1, judge
