"""What both arms did of late: a bounded run of stretches, and whether a rate is far above the usual one.

Rule: a second belongs to one stretch by the seconds before it alone, so it does not matter how the
reading was cut. Nothing here compares the arms; it only asks what each of them does by itself.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf

from app.domain.catalog.models import VersionName
from app.domain.evidence.tally import Tally, TallyRow
from app.domain.stats.eprocess import log_weighted_mean
from app.domain.stats.rate import CONCENTRATION, log_e_above

# A rate or a quantile read from fewer stable answers is no reference.
MIN_REFERENCE = 1_000
# A reference below this is not believed: nothing is that reliable for long.
LEAST_REFERENCE = 0.001
# Nor one above this: of a version that always fails nothing can be worse, and nothing be compared with it.
MOST_REFERENCE = 0.99

# A stretch is over when it has lasted so long and stable has answered so often in it: two minutes
# at high traffic, days at ten exchanges an hour.
STRETCH_S = 10
STRETCH_ANSWERS = 100
STRETCHES = 12
# Far above the usual rate: three times of it, so that a daily swing of 60 % is not, and two points.
FAR_TIMES = 3.0
FAR_POINTS = 0.02
# An outage shows in the first few answers, a small excess only in many.
_CONCENTRATIONS = (5.0, CONCENTRATION)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Both arms' answers in a stretch of time.

    Attributes:
        since_s: Its first second, Unix time.
        canary, canary_bad, stable, stable_bad: Answers that say something, and the bad ones among them.
    """

    since_s: int
    canary: int = 0
    canary_bad: int = 0
    stable: int = 0
    stable_bad: int = 0

    def __add__(self, later: "Stretch") -> "Stretch":
        return Stretch(
            self.since_s,
            self.canary + later.canary,
            self.canary_bad + later.canary_bad,
            self.stable + later.stable,
            self.stable_bad + later.stable_bad,
        )

    def is_over(self, second: int) -> bool:
        """Whether this second begins another stretch."""
        return second - self.since_s >= STRETCH_S and self.stable >= STRETCH_ANSWERS


Arm = Callable[[Stretch], tuple[int, int]]


def of_canary(stretch: Stretch) -> tuple[int, int]:
    """Bad answers of the canary, and all."""
    return stretch.canary_bad, stretch.canary


def of_stable(stretch: Stretch) -> tuple[int, int]:
    """Bad answers of stable, and all."""
    return stretch.stable_bad, stretch.stable


@dataclass(frozen=True, slots=True)
class Lately:
    """What both arms did of late, and what is usual for stable.

    Attributes:
        stretches: At most `STRETCHES`, the newest last.
        judged, bad: Stable's answers so far, while they are too few to know what is usual.
        usual_rate: Stable's rate of bad answers once they were enough; it never changes again.
    """

    stretches: tuple[Stretch, ...] = ()
    judged: int = 0
    bad: int = 0
    usual_rate: float | None = None

    @classmethod
    def since(cls, reference: Tally) -> "Lately":
        """What is known from the time before the start."""
        return cls(usual_rate=usual_rate(reference.judged, reference.errors + reference.timeouts))

    def after(self, rows: Iterable[TallyRow], canary: VersionName) -> "Lately":
        """With these rows' answers, which must be of whole seconds and come second by second."""
        lately = self
        for second, of_second in groupby(rows, key=_second):
            counts = [0, 0, 0, 0]
            for row in of_second:
                place = 0 if row.key.version == canary else 2
                counts[place] += row.tally.judged
                counts[place + 1] += row.tally.errors + row.tally.timeouts
            lately = lately._after(Stretch(second, *counts))
        return lately

    def _after(self, of_second: Stretch) -> "Lately":
        stretches = self.stretches
        if stretches and not stretches[-1].is_over(of_second.since_s):
            stretches = (*stretches[:-1], stretches[-1] + of_second)
        else:
            stretches = (*stretches, of_second)[-STRETCHES:]
        if self.usual_rate is not None:
            return Lately(stretches, usual_rate=self.usual_rate)
        judged, bad = self.judged + of_second.stable, self.bad + of_second.stable_bad
        return Lately(stretches, judged, bad, usual_rate(judged, bad))


def usual_rate(judged: int, bad: int) -> float | None:
    """The share of bad answers, at least the least one believed; None when there are too few to tell."""
    return min(max(LEAST_REFERENCE, bad / judged), MOST_REFERENCE) if judged >= MIN_REFERENCE else None


def _second(row: TallyRow) -> int:
    return row.key.second


def total(stretches: Sequence[Stretch], arm: Arm) -> tuple[int, int]:
    """Bad answers of the arm, and all, in all stretches."""
    counts = [arm(stretch) for stretch in stretches]
    return sum(bad for bad, _ in counts), sum(n for _, n in counts)


def far_above(usual: float) -> float:
    """The rate of bad answers beyond which something is wrong; 1 or more where no rate can be that bad."""
    return max(usual + FAR_POINTS, FAR_TIMES * usual)


def log_e_far_above(stretches: Sequence[Stretch], arm: Arm, limit: float) -> float:
    """Evidence against "of late the arm's rate of bad answers was at most `limit`", -inf for none.

    log E = log of the mean over k of E_k, with E_k the beta-binomial e-values of the newest k
    stretches, half of the weight on each concentration: what began yesterday and what began a
    second ago are both seen, and a small excess as well as an outage. While the rate stays below
    the limit, each run of stretches reaches 1/alpha with a chance of at most alpha.

    Source:
        `rate.log_e_above`; the average by Vovk & Wang 2021.
    """
    if limit >= 1.0:
        return -inf
    suffixes = []
    bad = n = 0
    for stretch in reversed(stretches):
        more_bad, more = arm(stretch)
        bad, n = bad + more_bad, n + more
        suffixes.append((bad, n))
    if not any(bad > limit * n for bad, n in suffixes):
        # A rate that was not even observed above the limit is no evidence that it lies there.
        return -inf
    return log_weighted_mean(
        (0.5 / len(suffixes), log_e_above(bad, n, limit, concentration))
        for bad, n in suffixes
        for concentration in _CONCENTRATIONS
    )
