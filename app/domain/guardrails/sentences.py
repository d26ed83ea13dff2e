"""What people read: one plain sentence for each finding and each decision.

Rule: rates are compared within the same weight epochs, never pooled; the bound printed beside
a verdict is the inversion of the test that gave it; no sentence says "probability that".
"""

from collections.abc import Mapping

from app.domain.catalog.policy import Guardrail, Metric, OnRegression, Policy
from app.domain.evidence.estimates import Rates
from app.domain.evidence.evidence import Evidence, Threshold
from app.domain.guardrails.finding import Verdict
from app.domain.stats.latency_histogram import edge_us

NO_THRESHOLDS = "Latency is not judged yet: {stable} has given too few answers to know what is slow."
_NOUNS = {Metric.ERRORS: "Error rate", Metric.TIMEOUTS: "Timeout rate"}


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


def of_rate(evidence: Evidence, policy: Policy, metric: Metric, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """Errors or timeouts: both rates, how far apart, and how sure."""
    canary, stable = evidence.canary, evidence.stable
    if "canary_rate" not in numbers:
        return f"{_NOUNS[metric]}: {canary} has given no answers yet."
    closing = CLOSINGS[verdict]
    if metric is Metric.TIMEOUTS and verdict is Verdict.INCONCLUSIVE_HEALTHY:
        # Timeouts are proven together with errors; alone they are never waited for.
        closing = ": nothing suspicious"
    sentence = (
        f"{_NOUNS[metric]} {percent(numbers['canary_rate'])} for {canary}, "
        f"{percent(numbers['stable_rate'])} for {stable} at the same weights{closing}"
    )
    least = numbers.get("least_ratio", 0.0)
    if least > 1.0:
        sentence += f", at least {least:.2f} times as often {sure(policy.alpha_rollback)}"
    if verdict is Verdict.HEALTHY and "excess_at_most" in numbers:
        most = percent(numbers["excess_at_most"])
        sentence += f", at most {most} more of its answers are bad {sure(policy.alpha_promotion)}"
    return f"{sentence}."


def sure(alpha: float) -> str:
    return f"with {(1.0 - alpha) * 100:g} % confidence at any time"


def with_untimed(sentence: str, canary: str, share: float) -> str:
    """What it means that latencies are missing, if enough are."""
    if share < 0.01:
        return sentence
    return f"{sentence} {percent(share)} of {canary}'s latencies never came: none of them proves that it is quick."


def with_consequence(sentence: str, canary: str, guardrail: Guardrail, verdict: Verdict) -> str:
    """What follows from proof of harm, where it is not that the canary is turned back."""
    if verdict is not Verdict.REGRESSED or guardrail.turns_back:
        return sentence
    if guardrail.dry_run:
        would = {
            OnRegression.ROLLBACK: f"would have turned {canary} back",
            OnRegression.HOLD: f"would have held {canary}",
            OnRegression.WARN: "would have warned",
        }
        return f"{sentence.removesuffix('.')}; a dry run, it {would[guardrail.on_regression]}."
    holds = guardrail.on_regression is OnRegression.HOLD
    return f"{sentence.removesuffix('.')}; {'it is held, not turned back' if holds else 'a warning, nothing follows'}."


CLOSINGS = {
    Verdict.HEALTHY: ": proven not worse",
    Verdict.REGRESSED: ": proven worse",
    Verdict.INCONCLUSIVE_HEALTHY: ": nothing suspicious, not proven yet",
    Verdict.INCONCLUSIVE_WORSE: ": suspicious, not proven",
    Verdict.INSUFFICIENT_DATA: ": too few answers to tell",
    Verdict.NO_EVENTS: ": no answers yet",
    Verdict.INVALID: ": not to be trusted",
}


def of_latency(evidence: Evidence, limit: Threshold, verdict: Verdict, seen: Rates | None) -> str:
    """Slow answers of both arms, each beyond its own threshold."""
    if seen is None:
        return f"Latency: {evidence.canary} has given no answers yet."
    return (
        f"{percent(seen.canary)} of {evidence.canary}'s answers took over {milliseconds(edge_us(limit.canary_bin))}, "
        f"{percent(seen.stable)} of {evidence.stable}'s over {milliseconds(edge_us(limit.stable_bin))} "
        f"(its {limit.level * 100:g}th percentile){CLOSINGS[verdict]}."
    )


def of_split(canary: str, seen: int, promised: float, *, valid: bool) -> str:
    """Whether the coin was fair."""
    ending = "as the weights promised" if valid else "which the weights cannot explain: the comparison is void"
    return f"{canary} was drawn {seen:,} times where {promised:,.0f} were expected, {ending}."
