"""What decides and what holds: a guardrail by its metric, or one of a few other causes; of slices which one."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from app.domain.catalog.policy import Metric


class Cause(StrEnum):
    """What decides or holds beside the guardrails. Where a metric may stand too, compare by ==."""

    SPLIT = "split"  # the versions were not drawn as the coin says
    INPUTS = "inputs"  # they were not asked the same
    COUNTS = "counts"  # what was counted cannot have happened
    CEILING = "ceiling"  # too many of the canary's answers are bad, whatever stable does
    EXTERNAL = "external"  # both got worse together
    SUSPICION = "suspicion"  # evidence of all guardrails together, and no proof
    BRAKE = "brake"
    DEADLINE = "deadline"
    DECAY = "decay"  # after its promotion
    POLICY = "policy"  # nothing but the rules
    OPERATOR = "operator"


class Slice(NamedTuple):
    """One value of one slice key."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """What decided.

    Attributes:
        slice: Of the slices guardrail: the one that is worse.
    """

    by: Metric | Cause
    slice: Slice | None = None

    def __str__(self) -> str:
        """As it is shown and stored."""
        return str(self.by) if self.slice is None else f"slice:{self.slice.key}={self.slice.value}"
