"""A past rollout judged again, look by look, under a policy it did not have.

Rule: the weights were what they were. Evidence is valid at any weights, so what is said of these counts holds;
what the policy would have seen at weights of its own is not known, and not made up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from app.domain.evidence.evidence import absorb
from app.domain.evidence.tally import TallyRow, Watermark
from app.domain.guardrails.finding import Assessment
from app.domain.rollout.evaluation import Judgement, Sight, judge
from app.domain.rollout.rollout import TERMINAL, Phase, Resolution, Rollout, Started
from app.domain.rollout.transitions import advance


class Fate(StrEnum):
    """What became of a rollout when its data was over."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    HELD = "held"  # until a person decides, or the evidence clears it
    UNDECIDED = "undecided"


_FATES = {
    Phase.PROMOTED: Fate.PROMOTED,
    Phase.ROLLED_BACK: Fate.ROLLED_BACK,
    Phase.ABORTED: Fate.ROLLED_BACK,
    Phase.PAUSED: Fate.HELD,
    Phase.FROZEN: Fate.HELD,
    Phase.INVALID: Fate.HELD,
    Phase.EXPIRED: Fate.HELD,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a rollout ended, or was left.

    Attributes:
        at: When its phase began.
        canary_answers: Answers of the canary judged until then; extra_bad: how many bad ones among them
            stable would not have given, about.
    """

    phase: Phase
    at: datetime
    canary_answers: int
    extra_bad: float

    @classmethod
    def of(cls, phase: Phase, at: datetime, seen: Assessment) -> "Ending":
        return cls(phase, at, seen.canary_answers, seen.extra_bad)

    @property
    def fate(self) -> Fate:
        return _FATES.get(self.phase, Fate.UNDECIDED)


_IN_WORDS = {
    Fate.PROMOTED: "promoted",
    Fate.ROLLED_BACK: "turned back",
    Fate.HELD: "held",
    Fate.UNDECIDED: "left undecided",
}


def compared(canary: str, would_be: Ending, was: Ending) -> str:
    """Both endings in one sentence."""
    return f"{canary} would have been {_in_words(would_be)}; it was {_in_words(was)}."


def _in_words(ending: Ending) -> str:
    bad = max(0.0, ending.extra_bad)
    return (
        f"{_IN_WORDS[ending.fate]} at {ending.at:%Y-%m-%dT%H:%M:%SZ} after {ending.canary_answers:,} of its answers, "
        f"about {bad:,.0f} bad ones too many"
    )


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What became readable between one look and the next.

    Attributes:
        through_s: The last second that is read, Unix time.
        rows, exposed: As `absorb` wants them.
    """

    through_s: int
    rows: Sequence[TallyRow] = ()
    exposed: Sequence[TallyRow] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One decision the policy would have taken."""

    at: datetime
    resolution: Resolution
    weight_bp: int


@dataclass(frozen=True, slots=True)
class Retrial:
    """How a rollout would have gone.

    Attributes:
        ending: Where it was left.
        seen: What the last look saw.
        looks: How many there were, with canary or stable answers to read.
        elsewhere: At how many of them the canary's weight was not the one this policy would have given it.
    """

    ending: Ending
    seen: Assessment
    steps: tuple[Step, ...]
    looks: int
    elsewhere: int


# ADR 0086
def retry(begun: Rollout, glimpses: Iterable[Glimpse], weights_bp: Mapping[int, int], behind_s: float) -> Retrial:
    """Start the rollout again and look until it ends or the data does.

    Args:
        begun: Not started yet, with the policy to try.
        glimpses: In the order of time.
        weights_bp: Generation to the canary's weight in it; every generation of the rows.
        behind_s: Seconds from the end of a second to the look that read it.
    """
    rollout = advance(begun, Started(), begun.started_at).rollout
    judged = judge(Sight(rollout, canary_ready=True), begun.started_at)
    steps = [*_step(judged, begun.started_at)]
    looks = elsewhere = 0
    for glimpse in glimpses:
        rollout = judged.transition.rollout
        if rollout.phase in TERMINAL:
            break
        looks += bool(glimpse.rows)
        elsewhere += any(weights_bp[row.key.generation] != rollout.weight_bp for row in glimpse.rows)
        mature = Watermark(glimpse.through_s, glimpse.through_s)
        evidence = absorb(rollout.evidence, glimpse.rows, weights_bp, mature, glimpse.exposed)
        at = datetime.fromtimestamp(glimpse.through_s + 1 + behind_s, UTC)
        judged = judge(Sight(replace(rollout, evidence=evidence), canary_ready=True), at)
        steps += _step(judged, at)
    rollout = judged.transition.rollout
    ending = Ending.of(rollout.phase, rollout.phase_since, judged.assessment)
    return Retrial(ending, judged.assessment, tuple(steps), looks, elsewhere)


def _step(judged: Judgement, at: datetime) -> Iterator[Step]:
    made = judged.transition
    if made.resolution is not None:
        yield Step(at, made.resolution, made.rollout.weight_bp)
