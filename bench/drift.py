"""How often drift is told in vain, and how soon it is told: `python3 -m bench.drift [--runs N] [--page FILE]`.

Rule: the same draws go to our rule and to the rules that drift tools come with.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from app.domain.reference_drift import drifted
from app.domain.spread import BINS_MAX, Histogram, Spread

Values = NDArray[np.float64]
FEATURES = 100
REFERENCE = 10_000
SIZES = (50, 100, 200, 500, 1_000, 10_000, 100_000, 1_000_000)
# So many values are drawn in all at one size; with fewer runs at the largest ones.
_DRAWN = 200_000_000
_EDGES = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class Told:
    """In what share of the looks something was flagged."""

    what: str
    n: int
    runs: int
    shares: Mapping[str, float]


def histogram_of_many(values: Values) -> Histogram:
    """As `spread.histogram_of` of finite numbers, a hundred times sooner."""
    bits = (values + 0.0).view(np.int64)
    places = np.sort(np.where(bits >= 0, bits, -(bits & np.int64(2**63 - 1))))
    level = 0
    while np.count_nonzero(np.diff(places >> level)) + 1 > BINS_MAX:
        level += 1
    bins, counts = np.unique(places >> level, return_counts=True)
    return Histogram(level, dict(zip(bins.tolist(), counts.tolist(), strict=True)))


def spread_of(columns: Values) -> Spread:
    """Columns of the shape (values, features)."""
    return Spread(features={f"f{place}": histogram_of_many(column.copy()) for place, column in enumerate(columns.T)})


def ours(now: Values, reference: Values) -> bool:
    return any(each.flagged for each in drifted(spread_of(reference), spread_of(now), 1))


def _shares(now: Values, reference: Values) -> Iterator[tuple[Values, Values]]:
    for one, other in zip(now.T, reference.T, strict=True):
        edges = np.quantile(other, _EDGES)
        counts = (np.bincount(np.searchsorted(edges, side), minlength=10) for side in (one, other))
        p, q = ((count + 1e-4) / (count + 1e-4).sum() for count in counts)
        yield p, q


def by_psi(now: Values, reference: Values) -> bool:
    """PSI of ten bins at least 0.1 in some feature."""
    return any(float(((p - q) * np.log(p / q)).sum()) >= 0.1 for p, q in _shares(now, reference))


def by_js(now: Values, reference: Values) -> bool:
    """Jensen-Shannon distance of ten bins at least 0.1 in some feature."""
    for p, q in _shares(now, reference):
        mean = (p + q) / 2
        if float(np.sqrt((p * np.log(p / mean) + q * np.log(q / mean)).sum() / 2)) >= 0.1:
            return True
    return False


def by_ks(now: Values, reference: Values) -> bool:
    """Kolmogorov-Smirnov's p below 0.05 in some feature."""
    return any(ks_2samp(one, other).pvalue < 0.05 for one, other in zip(now.T, reference.T, strict=True))


RULES: Mapping[str, Callable[[Values, Values], bool]] = {"Turnback": ours, "PSI": by_psi, "JS": by_js, "KS": by_ks}


def told(what: str, n: int, runs: int, rng: np.random.Generator, features: int, shift: float = 0.0) -> Told:
    """Looks at fresh values beside a fresh reference each; the first feature is shifted by so many deviations."""
    hits = dict.fromkeys(RULES, 0)
    for _ in range(runs):
        reference = rng.normal(size=(REFERENCE, features))
        now = rng.normal(size=(n, features))
        now[:, 0] += shift
        for name, rule in RULES.items():
            hits[name] += rule(now, reference)
    return Told(what, n, runs, {name: count / runs for name, count in hits.items()})


def study(runs: int, seed: int, sizes: Sequence[int] = SIZES, features: int = FEATURES) -> list[Told]:
    rng = np.random.default_rng(seed)
    found = []
    for n in sizes:
        most = max(2, min(runs, _DRAWN // ((n + REFERENCE) * features)))
        found.append(told("nothing drifted", n, most, rng, features))
    for n in [size for size in sizes if size <= 10_000]:
        most = max(2, runs // 4)
        found.append(told("one of them shifted by half a deviation", n, most, rng, features, 0.5))
        found.append(told("one of them shifted by 0.03 deviations", n, most, rng, features, 0.03))
    return found


def page(found: Sequence[Told], seed: int, features: int) -> str:
    head = (
        "# Drift: alarms in vain, and alarms in time\n\n"
        f"`python3 -m bench.drift`, seed {seed}: {features} features looked at together, a reference of {REFERENCE:,}"
        " values each, one look a run. Share of the looks in which some feature was flagged; ours may flag 0.5 % of"
        " them in vain, the first of many. The other rules are those that drift tools come with: PSI >= 0.1 and"
        " Jensen-Shannon distance >= 0.1 over ten bins, Kolmogorov-Smirnov p < 0.05, each feature by itself. A shift"
        " of 0.03 deviations is harmless and should not be flagged.\n\n"
    )
    names = list(RULES)
    lines = [f"| | n | runs | {' | '.join(names)} |", f"|---|--:|--:|{'--:|' * len(names)}"]
    for each in found:
        shares = " | ".join(f"{100 * each.shares[name]:.1f} %" for name in names)
        lines.append(f"| {each.what} | {each.n:,} | {each.runs:,} | {shares} |")
    return head + "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python3 -m bench.drift", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--features", type=int, default=FEATURES)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest n")
    parser.add_argument("--page", type=Path)
    wanted = parser.parse_args(arguments)
    sizes = [n for n in SIZES if n <= wanted.most]
    text = page(study(wanted.runs, wanted.seed, sizes, wanted.features), wanted.seed, wanted.features)
    sys.stdout.write(text)
    if wanted.page is not None:
        wanted.page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
