"""A model and its rollout as lines of text; `watch`, `explain` and the demo show the same."""

import math
from collections.abc import Iterator

from app.terminal.text import Document, columns, moment, percent, plain

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
    """A rollout in one line: its versions, phase and weight."""
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
    """The version that keeps a little traffic after a promotion, and until when."""
    version, weight = plain(standby["version"]), percent(standby["weight_bp"])
    return f"{version} stands by with {weight} of the traffic until {moment(standby['until'])}"


def mirror_line(mirror: Document) -> str:
    """The version that gets copies, and of how many requests."""
    return f"{plain(mirror['version'])} gets copies of {percent(mirror['share_bp'])} of the requests"


def guardrail_lines(rollout: Document) -> Iterator[str]:
    """One row for each guardrail, and how near the combined evidence is to a rollback."""
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
        f"together  {seen['verdict']}, e = {e_value(seen['log_e'])} (rolled back at {limit:g}); "
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
