"""A benchmark's report on the disk: one page, one JSON document, and mostly one picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson


def write(
    name: str,
    folder: Path,
    document: dict[str, Any],
    draw: Callable[[dict[str, Any], Path], None] | None,
    markdown: Callable[[dict[str, Any]], str],
) -> Path:
    """Write `name`.md, .json and, if there is something to draw, .svg into a folder that exists; the page's path."""
    json = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / f"{name}.json").write_bytes(json)
    if draw is not None:
        draw(document, folder / f"{name}.svg")
    page = folder / f"{name}.md"
    page.write_text(markdown(document))
    return page
