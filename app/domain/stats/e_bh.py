"""Which of many slices, tenants or features stand out: e-BH, for lists that alert and never act."""

from collections.abc import Sequence
from math import isnan, log


def discoveries(log_es: Sequence[float], q: float) -> tuple[int, ...]:
    """Reject the hypotheses whose e-values are large enough together, with false discovery rate <= q.

    The k largest are rejected for the greatest k with E_(k) >= K / (k q). Holds however the
    e-values depend on each other, and at any time at which all are read at once.

    Args:
        log_es: log E per hypothesis, shape (K,); -inf is no evidence at all.
        q: Largest expected share of false ones among the discoveries, in (0, 1).

    Returns:
        Their positions in `log_es`, ascending.

    Raises:
        ValueError: q outside (0, 1), or a value that is not a number.

    Source:
        Wang & Ramdas 2022, JRSS-B 84(3), e-BH.
    """
    if not 0.0 < q < 1.0:
        raise ValueError(f"{q} is no share in (0, 1)")
    if any(isnan(log_e) for log_e in log_es):
        raise ValueError("an e-value is not a number")
    descending = sorted(range(len(log_es)), key=log_es.__getitem__, reverse=True)
    enough = [k for k, i in enumerate(descending, 1) if log_es[i] >= log(len(log_es) / (k * q))]
    return tuple(sorted(descending[: max(enough, default=0)]))
