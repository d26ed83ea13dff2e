"""A pooled one-sided z-test, read at every look as if that look were the only one.

Source: the textbook test of two proportions (Pearson 1900); reading it again and again is what
Johari, Koomen, Pekelis & Walsh 2017 call peeking.
"""

import numpy as np
from scipy.special import ndtri

from bench.judging.traffic import Ends, Traffic, rollback_only


def judge(traffic: Traffic, alpha: float = 0.01) -> Ends:
    """Roll back where z exceeds its one-sided limit at level alpha; it never promotes."""
    totals = traffic.totals()
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (totals.canary_bad + totals.stable_bad) / traffic.exchanges
        spread = np.sqrt(pooled * (1.0 - pooled) * (1.0 / totals.canary + 1.0 / totals.stable))
        z = (totals.canary_bad / totals.canary - totals.stable_bad / totals.stable) / spread
    return rollback_only(np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0) > -float(ndtri(alpha)))
