"""`python -m bench proxy|decide`: measures, and prints tables or one JSON document; `turnback bench` becomes this."""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.terminal.text import columns
from bench.servers import BenchFailed

_FAILED = 1


def main(arguments: Sequence[str]) -> int:
    """Run one benchmark; 1 when a server does not start or an exchange fails."""
    wanted = _arguments(arguments)
    try:
        measured, tables = _proxy(wanted) if wanted.subject == "proxy" else _decide(wanted)
    except BenchFailed as failed:
        return _refuse(f"the benchmark cannot go on: {failed}", as_json=wanted.json)
    sys.stdout.write((json.dumps(measured, ensure_ascii=False) if wanted.json else tables.rstrip("\n")) + "\n")
    return 0


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench")
    parser.add_argument("subject", choices=["proxy", "decide"])
    parser.add_argument("--quick", action="store_true", help="under 50 seconds, with wider ranges")
    parser.add_argument("--seed", type=int, help="for decide: repeat a run exactly")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="a folder that gets Markdown, a plot and JSON")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args(arguments)


def _proxy(wanted: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from bench import proxy, report  # noqa: PLC0415 -- the other subject needs none of it

    measured = proxy.run(wanted.quick, _say)
    if wanted.report is not None:
        _say(f"the report is {report.write(measured, wanted.report)}")
    return measured, "\n\n".join(figure_tables(measured))


def _decide(wanted: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from bench import decide  # noqa: PLC0415 -- likewise
    from bench.judging import page  # noqa: PLC0415 -- likewise

    seed = random.SystemRandom().randrange(2**32) if wanted.seed is None else wanted.seed
    measured = decide.run(wanted.quick, seed, _say)
    if wanted.report is not None:
        _say(f"the report is {page.write(measured, wanted.report)}")
    return measured, page.tables(measured)


def figure_tables(figures: dict[str, Any], name: str = "figure") -> Iterator[str]:
    """Single figures first, then what belongs together beside each other, deeper groups under their path."""
    groups = {key: value for key, value in figures.items() if isinstance(value, dict) and value}
    single = [(key, value) for key, value in figures.items() if not isinstance(value, dict)]
    if single:
        yield columns((name.upper(), "VALUE"), single)
    flat = {key: group for key, group in groups.items() if not any(isinstance(each, dict) for each in group.values())}
    if name != "figure" and len(flat) > 1:
        head = list(dict.fromkeys(column for group in flat.values() for column in group))
        yield columns((name.upper(), *head), [(key, *map(group.get, head)) for key, group in flat.items()])
        groups = {key: group for key, group in groups.items() if key not in flat}
    for key, group in groups.items():
        yield from figure_tables(group, key if name == "figure" else f"{name} {key}")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _refuse(sentence: str, *, as_json: bool) -> int:
    sys.stderr.write(f"turnback: {sentence}\n")
    if as_json:
        error = {"exit_code": _FAILED, "detail": sentence, "problem": None}
        sys.stdout.write(json.dumps({"error": error}) + "\n")
    return _FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
