"""A model, its rollout and its decisions as lines of text; `watch` and `explain` show the same."""

import math
from collections.abc import Iterator

from app.cli.output import Document, columns, moment, percent, plain

_BAR = 30
_EVIDENCE_BAR = 10

ENDED = frozenset({"promoted", "rolled_back", "aborted"})
SYMBOLS = {
    "promoted": "✔",
    "rolled_back": "✖",
    "aborted": "✖",
    "paused": "⏸",
    "frozen": "⏸",
    "invalid": "⚠",
    "expired": "⚠",
    "healthy": "✔",
    "regressed": "✖",
    "inconclusive_worse": "⚠",
}
# What a replay goes by; the figures say the same for people.
_MADE_FROM = frozenset({"sight", "begun", "watch"})
_FOUND = {
    "decay": "it has become worse; its errors do not turn back, so nothing follows",
    "external": "both got worse together: the cause lies outside of them",
}
_MIRROR_FAILURES = {
    "mirror_only_primary_ok": "the mirror alone failed",
    "mirror_only_mirror_ok": "the mirror alone succeeded",
    "mirror_neither_ok": "neither succeeded",
}


def model_lines(model: Document, route: Document | None, rollout: Document | None) -> Iterator[str]:
    """A model as it is now: state, weights and what the guardrails say."""
    if rollout is None:
        yield f"{plain(model['name'])}  ✔ stable on {plain(model['stable'])}, no rollout"
    else:
        yield rollout_line(rollout)
    if route is not None:
        yield from _weight_lines(route)
    if model["standby"] is not None:
        yield f"  {standby_line(model['standby'])}"
    if rollout is not None:
        yield ""
        yield from guardrail_lines(rollout)


def rollout_line(rollout: Document) -> str:
    """One line: who is on the way and how far."""
    phase = str(rollout["phase"])
    return (
        f"{plain(rollout['model'])}  {SYMBOLS.get(phase, '●')} {phase.upper().replace('_', ' ')}  "
        f"{plain(rollout['stable'])} → {plain(rollout['canary'])}  canary at {percent(rollout['weight_bp'])}  "
        f"since {moment(rollout['phase_since'])}"
    )


def _weight_lines(route: Document) -> Iterator[str]:
    width = max((len(name) for name in route["target"]), default=0)
    for name, weight_bp in route["target"].items():
        bar = "█" * round(weight_bp / 10_000 * _BAR)
        seen = route["observed"].get(name)
        observed = "–" if seen is None else f"{percent(seen['share_bp'])} of {seen['exchanges']}"
        yield f"  {plain(name):<{width}}  {bar:<{_BAR}} {percent(weight_bp):>7}   observed {observed}"
    if route["mirror"] is not None:
        yield f"  {mirror_line(route['mirror'])}"


def standby_line(standby: Document) -> str:
    """Who keeps a little traffic after a promotion, and for how long."""
    version, weight = plain(standby["version"]), percent(standby["weight_bp"])
    return f"{version} stands by with {weight} of the traffic until {moment(standby['until'])}"


def watch_lines(watch: Document) -> Iterator[str]:
    """A promoted version beside its standby: how both answered, and how near an alarm is."""
    if watch["ended_at"] is None:
        yield standby_line({"version": watch["standby"], "weight_bp": watch["standby_bp"], "until": watch["until"]})
    else:
        yield f"{plain(watch['standby'])} stands by no more: ended by {watch['ended_by']}, {moment(watch['ended_at'])}"
    rows = [
        (version, kind, seen[role]["answers"], f"{seen[role]['bad']:,.1f}".removesuffix(".0"))
        for kind, seen in watch["suspicions"].items()
        for role, version in (("stable", watch["stable"]), ("standby", watch["standby"]))
    ]
    yield columns(("VERSION", "BY", "ANSWERS", "BAD"), rows)
    shown = "none yet" if watch["log_m"] is None else e_value(watch["log_m"])
    yield (
        f"evidence that {plain(watch['stable'])} has become the worse one: {shown} "
        f"(turned back at {e_value(watch['log_limit'])})"
    )
    for found in watch["found"]:
        yield f"  {SYMBOLS['inconclusive_worse']} {_FOUND[found]}"


def mirror_line(mirror: Document) -> str:
    """Who gets copies, and how many."""
    return f"{plain(mirror['version'])} gets copies of {percent(mirror['share_bp'])} of the requests"


def mirror_lines(explained: Document) -> Iterator[str]:
    """Who gets copies, and how its answers compare since then; counters that are not there are 0."""
    yield f"{mirror_line(explained['mirror'])} since {moment(explained['since'])}"
    counters = explained["counters"]
    pairs, agreed, differed, slower, dropped = (
        counters.get(f"mirror_{name}", 0) for name in ("pairs", "agreed", "differed", "slower", "dropped")
    )
    yield f"  {pairs} pairs: {agreed} agreed, {differed} differed; slower in {slower}"
    for name, words in _MIRROR_FAILURES.items():
        if counters.get(name, 0):
            yield f"  {words}: {counters[name]}"
    if dropped:
        yield f"  copies not sent: {dropped}"
    paired = explained["paired"]
    yield f"  {plain(paired['sentence'])} (e = {e_value(paired['log_e'])})"


def guardrail_lines(rollout: Document) -> Iterator[str]:
    """One row for each guardrail, and how near the combined evidence is to turning back."""
    seen = rollout["assessment"]
    limit = 1 / rollout["policy"]["alpha_rollback"]
    rows = [
        (
            finding["metric"],
            f"{SYMBOLS.get(finding['verdict'], '·')} {finding['verdict']}",
            evidence(finding["log_e_worse"], limit),
            finding["sentence"],
        )
        for finding in seen["findings"]
    ]
    yield columns(("GUARDRAIL", "SAYS", "EVIDENCE", "IN WORDS"), rows)
    yield (
        f"together  {seen['verdict']}, e = {e_value(seen['log_e'])} (turned back at {limit:g}); "
        f"{seen['canary_answers']} canary and {seen['stable_answers']} stable answers judged"
    )
    if seen["eta_s"] is not None and rollout["phase"] not in ENDED:
        yield f"about {seen['eta_s']:.0f} s to a decision at {seen['exchanges_per_s']:.0f} exchanges a second"


def evidence(log_e: float | None, limit: float) -> str:
    """A bar that is full when the evidence reaches its limit."""
    if log_e is None:
        return "–"
    share = min(1.0, max(0.0, log_e / math.log(limit))) if limit > 1 else 1.0
    return f"{'█' * round(share * _EVIDENCE_BAR):<{_EVIDENCE_BAR}} e = {e_value(log_e)}"


def e_value(log_e: float) -> str:
    """An e-value in few digits; its logarithm may be beyond what a float's exponent holds."""
    if log_e > math.log(1e6):
        return f"10^{log_e / math.log(10):.0f}"
    return f"{math.exp(log_e):.3g}"


def decision_lines(decision: Document, *, figures: bool = False) -> Iterator[str]:
    """What was decided, by whom and why; the figures are all that was stored with it."""
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
