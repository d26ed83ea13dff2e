"""The outcome of labels, as the gateway says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """A label that did not join a prediction.

    Attributes:
        index: Its place among all that were added.
        result: duplicate, orphan, unknown or invalid.
        reason: In words, where the gateway gives them.
    """

    index: int
    result: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many labels came to what.

    Attributes:
        joined: Belong to a prediction.
        pending: Wait for the record of their prediction, or for the gateway's database.
        duplicate: Were there already and change nothing.
        orphan: Belong to no prediction the gateway can have served.
        unknown: Name a prediction in a way that needs a source's key, or that leads to none.
        invalid: Cannot be used; `problems` says why.
    """

    joined: int = 0
    pending: int = 0
    duplicate: int = 0
    orphan: int = 0
    unknown: int = 0
    invalid: int = 0
    problems: tuple[Problem, ...] = ()

    @property
    def total(self) -> int:
        return self.joined + self.pending + self.duplicate + self.orphan + self.unknown + self.invalid

    def then(self, further: "Outcome") -> "Outcome":
        """Both together, where `further` is of labels added later."""
        later = tuple(Problem(each.index + self.total, each.result, each.reason) for each in further.problems)
        return Outcome(
            self.joined + further.joined,
            self.pending + further.pending,
            self.duplicate + further.duplicate,
            self.orphan + further.orphan,
            self.unknown + further.unknown,
            self.invalid + further.invalid,
            self.problems + later,
        )


def outcome_of(document: Mapping[str, Any]) -> Outcome:
    """The outcome in the gateway's answer to one request."""
    results = ("joined", "pending", "duplicate", "orphan", "unknown", "invalid")
    counts = {name: int(document.get(name, 0)) for name in results}
    problems = tuple(
        Problem(each["index"], each["result"], each.get("reason"))
        for each in document.get("items", ())
        if each["result"] not in {"joined", "pending"}
    )
    return Outcome(**counts, problems=problems)
