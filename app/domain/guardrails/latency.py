"""Slow answers: which latency a policy calls slow, said before stable's own is known, and who is slower."""

from functools import cache, lru_cache

from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.evidence.estimates import (
    CANARY,
    STABLE,
    TIMED,
    Count,
    Epochs,
    Rates,
    drawn_by_coin,
    rates,
    slow_together,
)
from app.domain.evidence.evidence import Evidence, SlowLimit, Threshold
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.finding import WORSE_VERDICTS, Finding, Verdict
from app.domain.guardrails.kind import GuardrailKind, Terms, of_every_model, wants_proof
from app.domain.guardrails.phrases import CLOSINGS, milliseconds, percent
from app.domain.guardrails.rates import numbers_of
from app.domain.guardrails.split import if_split_is_trusted
from app.domain.stats.eprocess import BETTER, WORSE, log_weighted_mean
from app.domain.stats.eprocess_batch import log_e_full_of_many
from app.domain.stats.latency_histogram import edge_us

LEVELS = (0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)


def slow_limits(policy: Policy) -> tuple[SlowLimit, ...]:
    """What the policy's latency guardrails call slow, the live one's first; the default's if it has none."""
    guardrails = sorted((each for each in policy.guardrails if each.metric == KIND.metric), key=_dry)
    each_once = dict.fromkeys(limit for guardrail in guardrails or [KIND.usual] for limit in limits_of(guardrail))
    return tuple(each_once)


@lru_cache(maxsize=256)
def limits_of(guardrail: Guardrail) -> tuple[SlowLimit, ...]:
    """What one latency guardrail calls slow, by ascending level."""
    proven = [guardrail.quantile] if guardrail.quantile else []
    return tuple(SlowLimit(level, *guardrail.margins) for level in sorted({*LEVELS, *proven}))


def _dry(guardrail: Guardrail) -> bool:
    return guardrail.dry_run


def judge_latency(evidence: Evidence, terms: Terms) -> Finding:
    """Slow answers, by thresholds frozen beforehand; half of the weight on the proven quantile."""
    places = _places(evidence, terms.guardrail)
    if not places:
        sentence = f"Latency is not judged yet: {evidence.stable} has given too few answers to know what is slow."
        return terms.nothing(sentence, Verdict.INSUFFICIENT_DATA)
    epochs = drawn_by_coin(evidence)
    slo = next(i for i in places if evidence.limits[i].level == terms.guardrail.quantile)
    rest = 0.5 / (len(places) - 1)
    slower = _slowness(evidence, tuple(range(len(evidence.limits))), WORSE)
    logs = {i: slower[i] for i in places}
    worse = log_weighted_mean((0.5 if i == slo else rest, log_e) for i, log_e in logs.items())
    (not_worse,) = _slowness(evidence, (slo,), BETTER)
    verdict = terms.verdict(worse, not_worse, sum(e.canary.timed for e in epochs.values()))
    loudest = max(places, key=logs.__getitem__) if verdict in WORSE_VERDICTS else slo
    seen = rates(epochs, _slow_beyond(loudest), TIMED)
    sentence = _sentence(evidence, evidence.thresholds[loudest], verdict, seen)
    sentence = _with_untimed(sentence, evidence.canary, _share_untimed(epochs))
    return terms.finding(evidence, verdict, (worse, not_worse), sentence, numbers_of(seen))


def _sentence(evidence: Evidence, limit: Threshold, verdict: Verdict, seen: Rates | None) -> str:
    """Slow answers of both arms, each beyond its own threshold."""
    if seen is None:
        return f"Latency: {evidence.canary} has given no answers yet."
    return (
        f"{percent(seen.canary)} of {evidence.canary}'s answers took over {milliseconds(edge_us(limit.canary_bin))}, "
        f"{percent(seen.stable)} of {evidence.stable}'s over {milliseconds(edge_us(limit.stable_bin))} "
        f"(its {limit.level * 100:g}th percentile){CLOSINGS[verdict]}."
    )


def _with_untimed(sentence: str, canary: str, share: float) -> str:
    """What it means that latencies are missing, if enough are."""
    if share < 0.01:
        return sentence
    return f"{sentence} {percent(share)} of {canary}'s latencies never came: none of them proves that it is quick."


@once_per_evidence
def _places(evidence: Evidence, guardrail: Guardrail) -> tuple[int, ...]:
    """Where the guardrail's thresholds stand; nothing before they are frozen, or if they are not all there."""
    places = {limit.key: place for place, limit in enumerate(evidence.limits)}
    keys = [limit.key for limit in limits_of(guardrail)]
    if not evidence.thresholds or not places.keys() >= set(keys):
        return ()
    return tuple(places[key] for key in keys)


@once_per_evidence
def _slowness(evidence: Evidence, places: tuple[int, ...], ratios: tuple[float, ...]) -> list[float]:
    """Evidence of harm or of none beyond each of the thresholds; what was not timed speaks against either."""
    references = tuple(1.0 - evidence.limits[i].level for i in places)
    tested = slow_together(evidence, places, untimed_is_slow=CANARY if ratios is BETTER else STABLE)
    return if_split_is_trusted(evidence, log_e_full_of_many(tested, references, ratios))


@once_per_evidence
def _share_untimed(epochs: Epochs) -> float:
    awaited = sum(max(epoch.canary.awaited, epoch.canary.timed) for epoch in epochs.values())
    return sum(epoch.canary.untimed for epoch in epochs.values()) / awaited if awaited else 0.0


@cache
def _slow_beyond(index: int) -> Count:
    return lambda arm: arm.slow[index] if arm.slow else 0


_wants_proof = wants_proof("is not slower than {stable}")


def _wants(evidence: Evidence, policy: Policy, finding: Finding) -> str | None:
    if finding.log_e_not_worse is None:
        return f"latency can be proven once {evidence.stable} has given enough answers to know what is slow"
    return _wants_proof(evidence, policy, finding)


KIND = GuardrailKind(
    usual=Guardrail(Metric("latency"), margin=0.25, floor=5.0, quantile=0.95),
    ranges={"margin": (0.0, 100.0), "floor": (0.0, 600_000.0), "quantile": (0.5, 0.9999)},
    share=0.25,
    judge=judge_latency,
    is_usual=of_every_model,
    extra="slow",
    wants=_wants,
)
