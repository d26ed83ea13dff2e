"""A run of `bench decide` for people: Markdown with a picture, and the document it was made from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench import written
from bench.judging import plot
from bench.judging.intervals import Document
from bench.judging.situations import MISUSED, TURNBACK
from bench.report import table

NAME = "decide"
JUDGES: Mapping[str, str] = {
    TURNBACK: "Turnback",
    MISUSED: "Turnback's test on what the others read",
    "argo_rollouts": "Argo Rollouts",
    "flagger": "Flagger",
    "kayenta": "Kayenta",
    "growthbook": "GrowthBook",
    "peeking_z": "z-test, peeking",
    "peeking_z_p99": "z-test beyond p99, peeking",
}


def write(document: Document, folder: Path) -> Path:
    """Write `decide.md`, `decide.svg` and `decide.json` into a folder that exists; the first one's path."""
    return written.write(NAME, folder, document, plot.draw, markdown)


def markdown(document: Document) -> str:
    """The whole page."""
    picture = f"![False rollbacks, delay and extra bad answers]({NAME}.svg)"
    return "\n\n".join(["# The rule beside its rivals", _setting(document), picture, tables(document)]) + "\n"


def tables(document: Document) -> str:
    """All figures, without the page's head."""
    blocks = [
        "## Goals",
        _goals(document["goals"]),
        *_false_rollbacks(document["situations"]),
        *_sides(document["situations"]),
        *_delays(document["delays"]),
        *_latency(document["latency"]),
        *_proofs(document["proofs"]),
        *_rollouts(document["policy"]),
        *_races(document["races"]),
    ]
    return "\n\n".join(blocks)


def _setting(document: Document) -> str:
    machine = document["machine"]
    again = f"python3 -m app bench decide {'--quick ' if document['quick'] else ''}--seed {document['seed']}"
    on = f"{machine['processes']} processes on {machine['processor']}"
    intervals = "intervals are at 95 %: exact for shares and quantiles, normal for means"
    lines = [
        f"- measured: {document['measured_at']}, {document['seconds']:.0f} s, Python {document['python']}, {on}",
        f"- the same figures again: `{again}`",
        f"- all figures: [{NAME}.json]({NAME}.json); method: `docs/benchmarks.md`; {intervals}",
    ]
    return "\n".join(lines)


def _goals(goals: Document) -> str:
    rows = [(goal["reach"], _number(goal["measured"]), _met(goal["met"])) for goal in goals.values()]
    return table(("reach", "measured", "met"), rows)


def _met(met: bool | None) -> str:
    return "not measured" if met is None else "yes" if met else "**no**"


def _false_rollbacks(situations: Document) -> Iterator[str]:
    yield "## False rollbacks"
    yield (
        "Both versions are the same, so whoever turns back is wrong. In brackets the exact upper bound: the truth lies "
        "above it with a chance of 5 %."
    )
    healthy = {name: each for name, each in situations.items() if each["healthy"]}
    judges = [judge for judge in JUDGES if any(judge in each["judges"] for each in healthy.values())]
    yield table(
        ("situation", "runs", *(JUDGES[judge] for judge in judges)),
        [(name, _runs(each["judges"][TURNBACK]), *_bounded(each["judges"], judges)) for name, each in healthy.items()],
    )
    yield "\n".join(f"- {name}: {each['what']}" for name, each in healthy.items())


def _runs(figures: Document) -> str:
    return f"{figures['rolled_back']['runs']:,}"


def _bounded(found: Document, judges: Sequence[str]) -> Iterator[str]:
    for judge in judges:
        share = found[judge]["rolled_back"] if judge in found else None
        yield "" if share is None else f"{_percent(share['share'])} (≤ {_percent(share['at_most'])})"


def _sides(situations: Document) -> Iterator[str]:
    head = ("judge", "turned back", "let through", "median exchanges", "mean extra bad answers")
    for name, situation in situations.items():
        if not situation["healthy"]:
            yield f"## {name}"
            yield f"{situation['what'][0].upper()}{situation['what'][1:]}."
            yield table(
                head,
                [
                    (
                        JUDGES[judge],
                        _share(figures["rolled_back"]),
                        _share(figures["promoted"]),
                        _between(figures["median_exchanges"]),
                        _between(figures["mean_extra_bad"]),
                    )
                    for judge, figures in situation["judges"].items()
                ],
            )


def _delays(delays: Document) -> Iterator[str]:
    yield "## Against the limit"
    yield (
        "Turnback's test of errors with half of the traffic. The *limit* is the fewest exchanges that any test with a "
        "false-alarm chance of 1 % needs on average."
    )
    head = ("canary", "limit", "mean", "mean / limit", "median", "extra bad", "a look every", "runs", "undecided")
    yield table(
        head,
        [
            (
                name,
                _number(row["limit_exchanges"]),
                _between(row["mean_exchanges"]),
                _between(row["mean_over_limit"]),
                _between(row["median_exchanges"]),
                _between(row["mean_extra_bad"]),
                str(row["look"]),
                f"{row['runs']:,}",
                str(row["undecided"]),
            )
            for name, row in delays.items()
        ],
    )


def _latency(latency: Document) -> Iterator[str]:
    yield "## Slower versions"
    yield (
        "Lognormal latency (median 100 ms, sigma 0.5), half of the traffic, a look every 100 exchanges. Without margin "
        "the p99 has half of the weight; the default margin is 25 % and 5 ms, at p95. *Tail*: only what lies above "
        "p95. Argo Rollouts and Flagger hold the canary's p99 below 500 ms, Kayenta compares each minute's p99, "
        "GrowthBook the mean."
    )
    judges = list(next(iter(latency.values()))["judges"])
    head = ("canary", "runs", *(f"{JUDGES[judge]}: turned back, median exchanges" for judge in judges), "to reach")
    yield table(
        head,
        [
            (
                name,
                _runs(row["judges"][TURNBACK]),
                *(_share_and_median(row["judges"][judge]) for judge in judges),
                _number(row["expected_exchanges"]),
            )
            for name, row in latency.items()
        ],
    )


def _share_and_median(figures: Document) -> str:
    return f"{_share(figures['rolled_back'])}: {_between(figures['median_exchanges'])}"


def _proofs(proofs: Document) -> Iterator[str]:
    yield "## Proven not worse"
    yield "Errors within one point of stable's 1 %, half of the traffic, a look every 50 exchanges, at most 50,000."
    yield table(
        ("canary", "proven", "of runs", "median exchanges"),
        [
            (name, _share(row["promoted"]), f"{row['promoted']['runs']:,}", _between(row["median_exchanges"]))
            for name, row in proofs.items()
        ],
    )


def _rollouts(rollouts: Document) -> Iterator[str]:
    yield "## Whole rollouts"
    yield (
        "Virtual traffic through the product's `absorb`, `assess` and `advance` under the default policy, no warm-up, "
        "one look a second; errors are the only guardrail unless it says *all guardrails*."
    )
    head = (
        "canary",
        "runs",
        "turned back",
        "promoted",
        "median s",
        "canary answers: median",
        "p95",
        "extra bad: median",
        "p95",
    )
    yield table(
        head,
        [
            (
                name,
                f"{row['runs']:,}",
                _share(row["rolled_back"]),
                _share(row["promoted"]),
                *(
                    _between(row[key])
                    for key in (
                        "median_seconds",
                        "median_canary_answers",
                        "p95_canary_answers",
                        "median_extra_bad",
                        "p95_extra_bad",
                    )
                ),
            )
            for name, row in rollouts.items()
        ],
    )


def _races(races: Document) -> Iterator[str]:
    yield "## Flagger at its own weights"
    yield (
        "Steps of 5 to 50 %, at least 99 % good a minute; ten failed checks roll back, ten good ones promote; 1 % of "
        "stable fails."
    )
    yield table(
        ("canary", "turned back", "let through", "mean extra bad answers"),
        [
            (name, _share(row["rolled_back"]), _share(row["promoted"]), _between(row["mean_extra_bad"]))
            for name, row in races.items()
        ],
    )


def _share(figure: Document) -> str:
    low, high = figure["ci95"]
    return f"{_percent(figure['share'])} ({_percent(low)}–{_percent(high)})"


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"


def _between(figure: Document) -> str:
    """The value and its interval; what never happened within the horizon has none."""
    if figure["value"] is None:
        return "never"
    low, high = (_number(end) or "never" for end in figure["ci95"])
    return _number(figure["value"]) if low == high else f"{_number(figure['value'])} ({low}–{high})"


def _number(number: float | None) -> str:
    """Three digits, or all before the point, with thousands set apart; nothing for what was not measured."""
    if number is None:
        return ""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
