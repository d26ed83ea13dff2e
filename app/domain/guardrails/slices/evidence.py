"""The evidence of every slice, all slices of a metric at once.

Rule: a slice is judged like the whole, by what the coin alone decides; nothing is assumed about what is usual in it,
since nobody knew its rates before. Equal to the one-slice functions of `eprocess` and `score`, whatever the number.

Per slice, of errors and of flawed answers: P1 of the bad ones alone. Of a quality metric's loss a / b:

- where b does not depend on the version, half of P1 with the losses a in [0, 1] in place of bad answers, half of P2
  about the reference of the whole. P1 is fair for losses too: with g = 1 + w (x - 1) and any a in [0, 1], (x / g)^a
  and (1 / g)^a lie below their chords 1 + a (x / g - 1) and 1 + a (1 / g - 1), whose mean under the coin is at most 1
  where the canary's mean loss is at most stable's.
- of precision and F1, whose b the version chooses: the smaller of P1 on a, "it is wrong more often", and the reversed
  P1 on b - a, "it is right less often". A ratio that is no worse leaves one of the two a fair process.

Source: `eprocess` and `score`; the chords by convexity, as Waudby-Smith & Ramdas 2024 bet on bounded means.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf, log

import numpy as np

from app.domain.catalog.declarations import QualityKind
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.absorb_observed import read_by_coin
from app.domain.evidence.cohort import Cohort, LossSums, SliceEpoch
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.evidence.observed import Observed, SliceCounts
from app.domain.guardrails.finding import Slice
from app.domain.guardrails.rates import LEAST_WEIGHT
from app.domain.guardrails.split import SPLIT_LIMIT, labelled_alike
from app.domain.stats.eprocess import BETTER, SPLIT_RATIOS, WORSE
from app.domain.stats.eprocess_batch import Counts, ManyOutcomes, log_e_tilt_of_many
from app.domain.stats.harm import of_halves
from app.domain.stats.score import best_rho, gamma_exponential_log_mixture, scale_worse

_HIGHEST = 0.5
# About where a loss that is 0.3 greater in one slice shows, among a hundred slices.
_RHO = best_rho(3.0, 2e-5)
_NO_COUNTS, _NO_LOSSES = SliceCounts(), SliceEpoch()
# What is counted of every slice: where its answers, and the bad ones among them, stand in `SliceCounts`.
ERRORS, VALIDITY = "errors", "validity"
COUNTED = {ERRORS: (0, 1), VALIDITY: (2, 3)}


@dataclass(frozen=True, slots=True)
class Compared:
    """One slice by one metric.

    Attributes:
        metric: One of `COUNTED`, or the name of a quality metric.
        log_e: Evidence that the canary is worse in it.
        canary_n, stable_n: Answers that were judged, read or labelled, by metric.
        canary_rate, stable_rate: Share of bad ones, or mean loss; stable's standardised to the canary's mix of
            weights. None where one of the arms has none.
        kind: Of a quality metric; None of others.
    """

    slice: Slice
    metric: str
    log_e: float
    canary_n: int
    stable_n: int
    canary_rate: float | None
    stable_rate: float | None
    kind: QualityKind | None = None


@dataclass(frozen=True, slots=True)
class _Losses:
    """One metric's sums in all slices, each with the shape (epochs, slices).

    Attributes:
        weights_bp: One per epoch.
        n, a: Of the canary, then of stable.
    """

    slices: Sequence[Slice]
    weights_bp: Sequence[int]
    n: tuple[Counts, Counts]
    a: tuple[Counts, Counts]

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(weight_bp / FULL_BP for weight_bp in self.weights_bp)

    def compared(self, metric: str, logs: Iterable[float], kind: QualityKind | None = None) -> Iterator[Compared]:
        """What is said of each slice."""
        canary_rates, stable_rates = self._rates()
        canary_n, stable_n = (counts.sum(axis=0).tolist() for counts in self.n)
        everything = zip(self.slices, logs, canary_n, stable_n, canary_rates, stable_rates, strict=True)
        for each, log_e, n, m, canary_rate, stable_rate in everything:
            yield Compared(each, metric, log_e, int(n), int(m), canary_rate, stable_rate, kind)

    def _rates(self) -> tuple[list[float | None], list[float | None]]:
        """As `estimates.rates`, over the epochs in which both arms have some."""
        (canary_n, stable_n), (canary_a, stable_a) = self.n, self.a
        both = (canary_n > 0) & (stable_n > 0)
        n = np.where(both, canary_n, 0.0).sum(axis=0)
        expected = np.where(both, canary_n * stable_a / np.where(both, stable_n, 1.0), 0.0).sum(axis=0)
        canary = np.where(both, canary_a, 0.0).sum(axis=0)
        some = np.where(n > 0, n, 1.0)
        rates = ((canary / some).tolist(), (expected / some).tolist())
        known = n.tolist()
        canary_rates, stable_rates = ([r if k else None for r, k in zip(arm, known, strict=True)] for arm in rates)
        return canary_rates, stable_rates


@once_per_evidence
def compared_slices(evidence: Evidence) -> tuple[Compared, ...]:
    """Every slice by every metric that something was seen of; a label that is not trusted counts for at most 1."""
    observed = chain.from_iterable(_of_observed(evidence))
    labelled = (_of_cohort(name, cohort) for name, cohort in evidence.of_model.cohorts.items())
    return (*observed, *chain.from_iterable(labelled))


def hypotheses(evidence: Evidence) -> int:  # ADR 0101
    """How many slices and metrics there can be, fixed by what was declared at the start."""
    values = sum(key.values_max + 1 for key in evidence.of_model.slice_keys)
    return values * (len(COUNTED) + len(evidence.of_model.cohorts))


def _of_observed(evidence: Evidence) -> Iterator[Iterator[Compared]]:
    epochs = read_by_coin(evidence)
    arms = [arm for epoch in epochs.values() for arm in (epoch.canary, epoch.stable)]
    slices = sorted({Slice(key, value) for arm in arms for key, values in arm.slices.items() for value in values})
    if not slices:
        return
    found = chain.from_iterable(_counts_of(arm, slices) for arm in arms)
    size = (len(epochs), 2, len(slices), len(SliceCounts._fields))
    counts = np.fromiter(chain.from_iterable(found), np.float64).reshape(size)
    canary, stable = counts[:, 0].transpose(2, 0, 1), counts[:, 1].transpose(2, 0, 1)
    for metric, (n, bad) in COUNTED.items():
        sums = _Losses(slices, tuple(epochs), (canary[n], stable[n]), (canary[bad], stable[bad]))
        yield sums.compared(metric, log_e_tilt_of_many(_many(sums.weights, *sums.a)))


def _counts_of(arm: Observed, slices: Sequence[Slice]) -> Iterator[SliceCounts]:
    none: Mapping[str, SliceCounts] = {}
    return (arm.slices.get(key, none).get(value, _NO_COUNTS) for key, value in slices)


def _many(weights: tuple[float, ...], canary: Counts, stable: Counts) -> ManyOutcomes:
    """Bad answers alone, as many tests; the good ones say nothing there."""
    nothing = np.zeros_like(canary)
    return ManyOutcomes(weights, np.stack((canary, stable, nothing, nothing)))


def _of_cohort(name: str, cohort: Cohort) -> Iterator[Compared]:
    weights_bp = sorted({bp for epochs in cohort.slices.values() for bp in epochs if 0 < bp < FULL_BP})
    if not weights_bp:
        return iter(())
    names = sorted(cohort.slices)
    found = (cohort.slices[each].get(bp, _NO_LOSSES) for bp in weights_bp for each in names)
    size = (len(weights_bp), len(names), 2, len(LossSums._fields))
    flat = chain.from_iterable(chain.from_iterable(found))
    sums = np.fromiter(flat, np.float64).reshape(size).transpose(2, 3, 0, 1)
    (canary_n, canary_a, canary_b, canary_aa, *_), (stable_n, stable_a, stable_b, stable_aa, *_) = sums
    slices = [Slice(*each.split("=", 1)) for each in names]
    losses = _Losses(slices, weights_bp, (canary_n, stable_n), (canary_a, stable_a))
    more_wrong = log_e_tilt_of_many(_many(losses.weights, canary_a, stable_a), WORSE)
    if cohort.metric.chooses_its_own:
        right = (np.maximum(canary_b - canary_a, 0.0), np.maximum(stable_b - stable_a, 0.0))
        fewer_right = log_e_tilt_of_many(_many(losses.weights, *right), BETTER)
        logs = list(map(min, more_wrong, fewer_right))
    else:
        logs = list(map(of_halves, more_wrong, _scores(losses, (canary_aa, stable_aa), cohort.reference)))
    return losses.compared(name, _trusted(logs, losses, cohort), cohort.metric.kind)


def _scores(losses: _Losses, squares: tuple[Counts, Counts], centre: float) -> list[float]:
    """P2 of each slice against "the canary's mean loss is at most stable's"; see `score.log_e_worse`."""
    w = np.array(losses.weights)[:, np.newaxis]
    (canary_n, stable_n), (canary_a, stable_a) = losses.n, losses.a
    of_canary, of_stable = canary_a - centre * canary_n, stable_a - centre * stable_n
    about = [
        np.maximum(aa - 2.0 * centre * a + centre * centre * n, 0.0)
        for aa, a, n in zip(squares, losses.a, losses.n, strict=True)
    ]
    scores = np.add.reduce((1.0 - w) * of_canary - w * of_stable, axis=0).tolist()
    variances = np.add.reduce((1.0 - w) ** 2 * about[0] + w**2 * about[1], axis=0).tolist()
    scale = scale_worse(centre, LEAST_WEIGHT, _HIGHEST)
    # Below zero it is less than 1 and not looked at: what only gets smaller stays fair.
    return [
        gamma_exponential_log_mixture(s, v, _RHO, scale) if s > 0.0 else -inf
        for s, v in zip(scores, variances, strict=True)
    ]


def _trusted(logs: list[float], losses: _Losses, cohort: Cohort) -> list[float]:
    """Evidence of labels, at most 1 where they come unevenly, or from several who cannot be told apart in a slice."""
    whole = labelled_alike(cohort)
    if len(cohort.sources) > 1:
        return [min(log_e, 0.0) for log_e in logs]
    uneven = log_e_tilt_of_many(_many(losses.weights, *losses.n), SPLIT_RATIOS)
    return [
        min(log_e, 0.0) if doubt >= log(SPLIT_LIMIT) else whole.harm(log_e)
        for log_e, doubt in zip(logs, uneven, strict=True)
    ]
