"""An explanation as lines of text: the evidence and its lines, rates by weight, what is certain, the time line."""

from collections.abc import Iterator

from app.terminal.rollouts import ENDED, e_value
from app.terminal.text import Document, columns, moment, percent, plain

_MOMENTS_SHOWN = 12


def explanation_lines(explanation: Document, rollout: Document) -> Iterator[str]:
    """The whole explanation, the sentence first."""
    yield plain(explanation["sentence"])
    yield from _evidence_lines(explanation)
    yield from _weight_lines(explanation["weights"], rollout)
    yield from _certain_lines(explanation)
    yield from _outlook_lines(rollout)
    yield from _reading_lines(explanation)
    yield from _moment_lines(explanation["history"])


def _evidence_lines(explanation: Document) -> Iterator[str]:
    seen = explanation["evidence"]
    yield (
        f"evidence  e = {e_value(seen['log_e'])}; suspicious at {seen['suspicious_at']:g}, "
        f"rolled back at {seen['turned_back_at']:g}"
    )
    yield f"  {plain(seen['p_means'])}"


def _weight_lines(weights: list[Document], rollout: Document) -> Iterator[str]:
    """Each weight by itself: pooled over weights, rates of equal versions would differ."""
    if not weights:
        return
    canary, stable = plain(rollout["canary"]), plain(rollout["stable"])
    head = ("WEIGHT", f"{canary} ANSWERS", "BAD", "RATE", f"{stable} ANSWERS", "BAD", "RATE")
    yield columns(
        head,
        [(percent(each["weight_bp"]), *_arm(each, "canary"), *_arm(each, "stable")) for each in weights],
    )


def _arm(at_weight: Document, arm: str) -> tuple[object, ...]:
    counts, rate = at_weight[arm], at_weight[f"{arm}_rate"]
    return counts["judged"], counts["errors"] + counts["timeouts"], None if rate is None else f"{rate * 100:.3g} %"


def _certain_lines(explanation: Document) -> Iterator[str]:
    for certain in explanation["certain"]:
        yield f"  {plain(certain['sentence'])}"
    yield f"  {plain(explanation['excess']['sentence'])}"


def _outlook_lines(rollout: Document) -> Iterator[str]:
    """The outlook: changes that would alter the decision, and the smallest effect that can still show."""
    if rollout["phase"] in ENDED:
        return
    seen = rollout["assessment"]
    for want in seen.get("wants", ()):
        yield f"  would change it: {plain(want)}"
    if seen["smallest_effect"] is not None:
        yield f"  smallest effect that shows before the deadline: {seen['smallest_effect'] * 100:.3g} points"


def _reading_lines(explanation: Document) -> Iterator[str]:
    if explanation["behind_s"] is not None:
        yield f"  read up to {explanation['behind_s']:.0f} s ago"
    for each in explanation["not_counted"]:
        yield (
            f"  {plain(each['version'])} in the last hour: {each['exchanges']} drawn; not counted: "
            f"{each['excluded']} without a coin ({each['forced']} forced), {each['cancelled']} left by the client"
        )


def _moment_lines(history: list[Document]) -> Iterator[str]:
    """The rollout's decisions and the evidence each had, the newest last."""
    if not history:
        return
    yield ""
    if len(history) > _MOMENTS_SHOWN:
        yield f"{len(history) - _MOMENTS_SHOWN} earlier decisions; --json has them"
    yield columns(
        ("AT", "ACTION", "BY", "EVIDENCE", "WHY"),
        [
            (
                moment(each["at"]),
                each["action"],
                each["actor"],
                None if each["log_e"] is None else f"e = {e_value(each['log_e'])}",
                each["sentence"],
            )
            for each in history[-_MOMENTS_SHOWN:]
        ],
    )
