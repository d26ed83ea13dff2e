"""A decision as lines of text."""

from collections.abc import Iterator

from app.terminal.text import Document, moment, percent, plain

# A replay goes by these; the figures say the same for people.
_MADE_FROM = frozenset({"sight", "begun", "watch"})


def decision_lines(decision: Document, *, figures: bool = False) -> Iterator[str]:
    """A decision, by whom and why; the figures are all that was stored with it."""
    yield plain(decision["sentence"])
    by = f"{decision['action']} by {plain(decision['actor'])}, trigger {plain(decision['trigger'])}"
    yield f"  {by}, {moment(decision['at'])}"
    if decision["reason"]:
        yield f"  reason: {plain(decision['reason'])}"
    before, after = (_weights(decision[f"weights_{when}_bp"]) for when in ("before", "after"))
    yield f"  weights {before} → {after}, generation {decision['generation_before']} → {decision['generation_after']}"
    yield f"  decision {plain(decision['id'])}"
    if figures:
        for name, value in decision["evidence"].items():
            if name not in _MADE_FROM:
                yield from _figure_lines(name, value, indent=2)


def _weights(weights_bp: Document) -> str:
    return ", ".join(f"{plain(name)} {percent(weight)}" for name, weight in weights_bp.items()) or "–"


def _figure_lines(name: str, value: object, *, indent: int) -> Iterator[str]:
    """A figure of any shape, nested ones further in."""
    pad = " " * indent
    if isinstance(value, dict):
        yield f"{pad}{plain(name)}"
        for inner, each in value.items():
            yield from _figure_lines(inner, each, indent=indent + 2)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        yield f"{pad}{plain(name)}"
        for place, each in enumerate(value, start=1):
            yield from _figure_lines(str(place), each, indent=indent + 2)
    else:
        yield f"{pad}{plain(name)}  {plain(value)}"
