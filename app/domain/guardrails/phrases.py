"""Words that all sentences for people share: shares, counts, money, how sure, and what a verdict comes to.

Rule: rates are compared within the same weight epochs, never pooled; the bound printed beside
a verdict is the inversion of the test that gave it; no sentence says "probability that".
"""

from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.finding import Verdict

CLOSINGS = {
    Verdict.HEALTHY: ": proven not worse",
    Verdict.REGRESSED: ": proven worse",
    Verdict.INCONCLUSIVE_HEALTHY: ": nothing suspicious, not proven yet",
    Verdict.INCONCLUSIVE_WORSE: ": suspicious, not proven",
    Verdict.INSUFFICIENT_DATA: ": too few answers to tell",
    Verdict.NO_EVENTS: ": no answers yet",
    Verdict.INVALID: ": not to be trusted",
}


def closing(verdict: Verdict, *, is_proven: bool) -> str:
    """What a verdict comes to; of some nothing is ever proven, and promotion does not wait for it."""
    if verdict is Verdict.INCONCLUSIVE_HEALTHY and not is_proven:
        return ": nothing suspicious"
    return CLOSINGS[verdict]


def percent(share: float) -> str:
    """A share in [0, 1]: 0.021 is "2.10 %", 0.5 is "50.0 %", 0.0004 is "0.04 %"."""
    hundredths = share * 100.0
    if hundredths >= 10.0:
        return f"{hundredths:.1f} %"
    return f"{hundredths:.2f} %" if hundredths >= 0.1 else f"{hundredths:.2g} %"


def points(share: float) -> str:
    """A difference of shares: 0.024 is "2.4 points"."""
    hundredths = f"{share * 100.0:.2g}"
    return f"{hundredths} point{'' if hundredths == '1' else 's'}"


def about(count: float) -> str:
    """A rough count, two significant digits: 4,237 is "4,200"."""
    return f"{float(f'{count:.2g}'):,.0f}"


def frequency(per_s: float) -> str:
    """A rate in the unit that makes it at least one: 0.0028 is "10 requests an hour"."""
    for unit, seconds in (("second", 1.0), ("minute", 60.0)):
        if per_s * seconds >= 1.0:
            return f"{about(per_s * seconds)} requests a {unit}"
    return f"{per_s * 3_600.0:.2g} requests an hour"


def milliseconds(us: float) -> str:
    """A time in microseconds, three significant digits."""
    return f"{us / 1_000.0:.3g} ms"


def money(amount: float) -> str:
    """An amount in the currency of the prices, three significant digits: 0.00123, or 1,230 for 1234.5."""
    return f"{float(f'{amount:.3g}'):,.12g}"


def sure(alpha: float) -> str:
    return f"with {(1.0 - alpha) * 100:g} % confidence at any time"


def not_read(evidence: Evidence) -> str:
    """Why nothing is known of the canary's answers."""
    if evidence.per_caller:
        return "callers keep their arm, and what one of them meets again and again is no draw"
    return f"nothing of {evidence.canary}'s answers has been read yet"


def with_uneven(sentence: str, evidence: Evidence, what: str, *, uneven: bool) -> str:
    """What it means that more is known of one arm than the coin explains."""
    if not uneven:
        return sentence
    return (
        f"{sentence} {what} more often of one of {evidence.canary} and {evidence.stable} than their weights explain: "
        f"nothing is proven by it."
    )
