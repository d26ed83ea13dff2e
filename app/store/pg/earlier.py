"""What earlier versions wrote of a rollout into decisions, in the shape of today.

Rule: a decision is a record and never written anew; rollouts themselves are rewritten by migrations.
"""

from collections.abc import Mapping
from typing import Any


def rollout_of_today(document: Any) -> Any:  # noqa: ANN401 -- JSON, whatever it is
    """A stored rollout with its evidence in today's shape. Raises: ValueError: it is malformed."""
    return sight_of_today({"rollout": document})["rollout"]


def sight_of_today(document: Any) -> Any:  # noqa: ANN401 -- JSON, whatever it is
    """What a decision was made from, likewise."""
    try:
        rollout = document["rollout"]
        evidence = rollout["evidence"]
        if "per_caller" in evidence:
            return document
        return {**document, "rollout": {**rollout, "evidence": {**evidence, **_told(evidence)}}}
    except (LookupError, TypeError, AttributeError) as malformed:
        raise ValueError("a stored rollout has no evidence of any known shape") from malformed


def _told(evidence: Mapping[str, Any]) -> Mapping[str, Any]:
    exchanges = evidence.get("recent_exchanges")
    return {
        "per_caller": exchanges is not None,
        "recent_exchanges": exchanges or [],
        "by_weight": {
            weight: {arm: _by_outcome(counts) for arm, counts in epoch.items()}
            for weight, epoch in evidence["by_weight"].items()
        },
    }


def _by_outcome(counts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Sums of outcomes as outcomes, told apart as far as they were."""
    ended, judged, errors, timeouts = (counts[name] for name in ("ended", "judged", "errors", "timeouts"))
    outcomes = {
        "ok": judged - errors - timeouts,
        "upstream_error": errors,
        "timeout": timeouts,
        "cancelled": ended - judged,
    }
    return {**counts, "outcomes": {name: n for name, n in outcomes.items() if n}}
