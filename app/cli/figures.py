"""Figures of quality and cost as people read them; an absent one is a dash."""

from app.terminal.text import Document


def number(value: float | None) -> str:
    """A number in four digits."""
    return "–" if value is None else f"{value:.4g}"


def share(value: float | None) -> str:
    """A share as percent."""
    return "–" if value is None else f"{100.0 * value:.3g} %"


def interval(value: Document) -> str:
    """An interval from low to high."""
    return "–" if value["low"] is None else f"{number(value['low'])} … {number(value['high'])}"
