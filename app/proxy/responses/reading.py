"""What the one who follows an answer's body, as copies of its payload come by, has to offer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from app.domain.evidence.observed import Flaw
from app.domain.evidence.tally import Counter

Prediction: TypeAlias = float | str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one exchange; each >= 0.

    Attributes:
        is_estimated: Whether the completion's tokens were counted by their events; the prompt's are 0 then.
    """

    prompt: int
    completion: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What one answer said.

    Attributes:
        counters: What to add to the version's counters. An answer that was to be read counts as exactly
            one of READ, SKIPPED and INVALID.
        predictions: Labels, classes or numbers, in the answer's order; at most 1,000.
        scores: How sure the model was of them, where it said so; at most 1,000.
        withheld: Whether there was nothing where something is promised, or it was refused; None when neither.
    """

    counters: Mapping[Counter, int] = field(default_factory=dict)
    predictions: tuple[Prediction, ...] = ()
    scores: tuple[float, ...] = ()
    usage: Usage | None = None
    withheld: Flaw | None = None


NOTHING = Reading()
SKIPPED = Reading({Counter.SKIPPED: 1})
INVALID = Reading({Counter.INVALID: 1})


class Follower:
    """Hears an answer's payload, decoded from its transfer coding, in any cutting.

    A base class and no protocol: what is compiled calls it many times a stream.
    """

    __slots__ = ()

    def feed(self, payload: bytes) -> None:
        """Take the next bytes; called before or after they are sent, never raises."""
        raise NotImplementedError

    def ended_well(self, *, clean_end: bool) -> bool:
        """Whether the answer is complete and says of no failure; asked once, when no more will come.

        Args:
            clean_end: Whether the transfer ended as its framing said.
        """
        raise NotImplementedError

    def read(self, *, clean_end: bool) -> Reading:
        """What the answer said; called once, after the last byte was sent or the answer broke off."""
        raise NotImplementedError
