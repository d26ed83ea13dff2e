"""The situations in which all judges are compared, and what each of them did in many runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.judging.callers import StickyCallers
from bench.judging.coin import turnback
from bench.judging.draws import BurstsWhileEvidenceSteers, OutcomesKnownLate, RampWhileRatesRise, Steady, Stream
from bench.judging.intervals import Document, mean, median, share
from bench.judging.traffic import Counts, Ends, Figures, Flags, Judge, Traffic
from bench.rivals import argo, flagger, growthbook, kayenta, peeking

TURNBACK = "turnback"
# The product's test on what the rivals read, where that is not what the product reads.
MISUSED = "turnback_misused"
RIVALS: Mapping[str, Judge] = {
    "argo_rollouts": argo.judge,
    "flagger": flagger.judge,
    "kayenta": kayenta.judge,
    "growthbook": growthbook.judge,
    "peeking_z": peeking.judge,
}


@dataclass(frozen=True, slots=True)
class Situation:
    """A stream that every judge sees.

    Attributes:
        what: One line for the report.
        quick_runs, full_runs: How many runs are drawn.
    """

    name: str
    what: str
    stream: Stream
    quick_runs: int
    full_runs: int

    @property
    def healthy(self) -> bool:
        """Whether both versions are the same, so that turning back is a false alarm."""
        return self.stream.excess == 0.0


def _by_the_hour(canary_rate: float) -> Steady:
    # An interval of the others is six hours here: minutes would be empty, and count as failed checks.
    return Steady(canary_rate, per_look=10, looks=504, interval=6, by_chance=True)


SITUATIONS = (
    Situation("same", "1 % of both fail; 1,000 a minute, half of them to the canary", Steady(0.01), 500, 10_000),
    Situation(
        "1.5%",
        "stable fails 1 %, the canary 1.5 %; 1,000 a minute, half of them to the canary",
        Steady(0.015),
        100,
        1_000,
    ),
    Situation("2%", "the canary fails 2 %, else as before", Steady(0.02), 100, 1_000),
    Situation("5%", "the canary fails 5 %, else as before", Steady(0.05), 100, 1_000),
    Situation("50%", "the canary fails 50 %, else as before", Steady(0.5), 100, 1_000),
    Situation(
        "same, ramp while rates rise",
        "1, 5, 25, 50 % by the clock while both fail 0.5 to 2 %",
        RampWhileRatesRise(),
        500,
        10_000,
    ),
    Situation(
        "same, bursts while evidence steers",
        "daily cycle of traffic and failures, bursts of 30 %, weights moved by the evidence",
        BurstsWhileEvidenceSteers(),
        500,
        10_000,
    ),
    Situation(
        "same, sticky callers",
        "callers keep their arm, few are heavy; Turnback judges first exchanges",
        StickyCallers(),
        500,
        10_000,
    ),
    Situation(
        "same, outcomes late",
        "10,000 a second, 5 % to the canary; stable's failures show 30 s late; Turnback reads up to its watermark",
        OutcomesKnownLate(0.01),
        500,
        10_000,
    ),
    Situation(
        "2%, outcomes late",
        "10,000 a second, 5 % to the canary, which fails 2 %; stable's failures show 30 s late",
        OutcomesKnownLate(0.02),
        100,
        1_000,
    ),
    Situation(
        "same, 10 an hour",
        "three weeks of 10 an hour; the others' minute is six hours",
        _by_the_hour(0.01),
        500,
        10_000,
    ),
    Situation(
        "5%, 10 an hour",
        "three weeks of 10 an hour, half to the canary, which fails 5 %",
        _by_the_hour(0.05),
        100,
        1_000,
    ),
    Situation("20%, 10 an hour", "the canary fails 20 %, else as before", _by_the_hour(0.2), 100, 1_000),
    Situation("always fails, 10 an hour", "the canary always fails, else as before", _by_the_hour(1.0), 100, 1_000),
)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What one judge did in many runs; each of shape (runs,).

    Attributes:
        exchanges: Of both arms until it turned the canary back; inf where it did not.
        promoted: Whether it let the canary through.
        canary_answers: Of the canary until it ended the run, or all of them.
    """

    exchanges: Figures
    promoted: Flags
    canary_answers: Figures


def judge(situation: Situation, runs: int, seed: int) -> dict[str, Verdicts]:
    """Draw so many runs and let every judge see them."""
    drawn = situation.stream.draw(runs, np.random.default_rng(seed))
    ends = {TURNBACK: turnback(drawn.judged)}
    if drawn.judged is not drawn.seen:
        ends[MISUSED] = turnback(drawn.seen)
    ends.update({name: rival(drawn.seen) for name, rival in RIVALS.items()})
    return {name: verdicts(drawn.seen, each) for name, each in ends.items()}


def verdicts(seen: Traffic, ends: Ends) -> Verdicts:
    """From looks to what had happened until then."""
    last = seen.canary.shape[1] - 1.0
    stopped = np.minimum(np.minimum(ends.rolled_back, ends.promoted), last)
    back = np.isfinite(ends.rolled_back)
    exchanges = np.where(back, _at(seen.exchanges, np.where(back, ends.rolled_back, 0.0)), np.inf)
    return Verdicts(exchanges, np.isfinite(ends.promoted), _at(seen.canary.cumsum(axis=1), stopped))


def _at(counts: Counts, looks: Figures) -> Figures:
    found: Figures = np.take_along_axis(counts, looks.astype(np.int64)[:, None], axis=1)[:, 0].astype(float)
    return found


def summary(situation: Situation, parts: Sequence[Mapping[str, Verdicts]]) -> Document:
    """Every judge's figures, with their intervals."""
    return {
        "what": situation.what,
        "healthy": situation.healthy,
        "judges": {name: figures([part[name] for part in parts], situation.stream.excess) for name in parts[0]},
    }


def figures(parts: Sequence[Verdicts], excess: float) -> Document:
    """One judge's: how often it turned back and let through, how soon, and what that cost.

    Args:
        parts: Of the same judge.
        excess: The canary's share of bad answers beyond stable's; each of its answers costs so much.
    """
    exchanges, promoted, answers = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("exchanges", "promoted", "canary_answers")
    )
    return {
        "rolled_back": share(np.isfinite(exchanges)),
        "promoted": share(promoted),
        "median_exchanges": median(exchanges),
        "mean_extra_bad": mean(answers * excess),
    }
