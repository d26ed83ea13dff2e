"""A run of `bench.drift` for people: Markdown, and the document it was made from."""

from pathlib import Path

from bench import written
from bench.judging.intervals import Document
from bench.report import table

NAME = "drift"


def write(document: Document, folder: Path) -> Path:
    """Write the page and its document into a folder that exists; the page's path."""
    return written.write(NAME, folder, document, None, markdown)


_SETTING = (
    "A hundred features, seventy normal ones and thirty of five labels, against a reference of 10,000 values each. "
    "*Values* are those of one window. Rules of other tools are as they are used: on each feature and window by itself."
)
_CALM = (
    "Share of runs of 24 windows in which nothing drifts and something is flagged all the same. *Flagged* is proven "
    "and far (PSI 0.1, less what chance makes of it); *proven* is the test alone. Each may be 1 % over windows without "
    "end."
)
_FOUND = (
    "Share of windows in which one of a hundred features that has changed is flagged, at the 24th window's limit. The "
    "last row is a shift that is too small to matter."
)


def markdown(document: Document) -> str:
    """The whole page."""
    again = f"python3 -m bench.drift --seed {document['seed']} --report docs/bench"
    figures = f"all figures: [{NAME}.json]({NAME}.json); in brackets exact intervals at 95 %"
    cost = f"adding a value to a histogram: {document['update_us']:g} µs ({document['processor']})"
    blocks = [
        "# Drift: false alarms and found changes",
        f"- the same figures again: `{again}` (Python {document['python']})\n- {figures}\n- {cost}",
        _SETTING,
        "## Nothing drifts",
        _CALM,
        _calm(document["calm"]),
        "## Something has changed",
        _FOUND,
        _found(document["found"]),
    ]
    return "\n\n".join(blocks) + "\n"


def _calm(calm: Document) -> str:
    rules = list(next(iter(calm.values()))["rules"])
    head = ("values", "runs", "flagged", "proven", *(f"any {rule}" for rule in rules))
    rows = [
        (
            f"{int(n):,}",
            str(found["flagged"]["runs"]),
            *(_share(found[what]) for what in ("flagged", "proven")),
            *(_share(found["rules"][rule]) for rule in rules),
        )
        for n, found in calm.items()
    ]
    return table(head, rows)


def _found(found: Document) -> str:
    sizes = list(next(iter(found.values())))
    rows = [(change, *(_share(by_size[n]) for n in sizes)) for change, by_size in found.items()]
    return table(("change", *(f"{int(n):,} values" for n in sizes)), rows)


def _share(figure: Document) -> str:
    low, high = (f"{100.0 * end:.3g}" for end in figure["ci95"])
    return f"{100.0 * figure['share']:.3g} % ({low}–{high})"
