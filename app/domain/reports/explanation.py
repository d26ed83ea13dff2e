"""Why a rollout is where it is: the evidence against its lines, rates by weight, and what is certain so far.

Rule: a rate is shown within one weight, or standardised over them, never pooled; the bounds are inversions of the
very processes that decide; a p is only shown with what it is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log

from app.domain.catalog.policy import Guardrail, Metric, Policy
from app.domain.evidence.estimates import BAD, DRAWN, JUDGED, drawn_by_coin, outcomes, rates
from app.domain.evidence.evidence import ArmCounts, Evidence
from app.domain.guardrails.finding import Assessment, Verdict
from app.domain.guardrails.kind import Rate
from app.domain.guardrails.phrases import percent, sure
from app.domain.guardrails.registry import kind_of, log_limit
from app.domain.stats.harm import least_harm_ratio
from app.domain.stats.paired import log_e_discordant

# The inversion of P1 goes no further down.
_NO_LEAST_RATIO = 1.01e-3
_HEADLINES = {
    Verdict.HEALTHY: "{canary} is proven not worse than {stable} by more than its margins.",
    Verdict.REGRESSED: "{canary} is proven worse than {stable}.",
    Verdict.INCONCLUSIVE_HEALTHY: "Nothing speaks against {canary} so far, and it is not proven yet.",
    Verdict.INCONCLUSIVE_WORSE: "{canary} looks worse than {stable}, which is not proven yet.",
    Verdict.INSUFFICIENT_DATA: "{canary} has given too few answers to say anything.",
    Verdict.NO_EVENTS: "{canary} has given no answers yet.",
    Verdict.INVALID: "The counts of {canary} and {stable} cannot be trusted: nothing follows from them.",
}


@dataclass(frozen=True, slots=True)
class AtWeight:
    """Both arms at one weight, with their shares of bad answers; None where an arm gave none."""

    weight_bp: int
    canary: ArmCounts
    stable: ArmCounts

    @property
    def canary_rate(self) -> float | None:
        return _rate(self.canary)

    @property
    def stable_rate(self) -> float | None:
        return _rate(self.stable)


def _rate(arm: ArmCounts) -> float | None:
    return arm.bad / arm.judged if arm.judged else None


@dataclass(frozen=True, slots=True)
class Certainty:
    """What is certain of one rate by now, at any time and however often it was looked at.

    Attributes:
        canary_rate, stable_rate: Standardised to the canary's mix of weights.
        least_ratio: The canary's rate is at least so many times stable's; None while nothing is excluded.
        ratio_confidence: Of all such bounds together, in (0, 1). Each spends its guardrail's share of the alarm, so
            that it lies above 1 exactly when the guardrail alone turns the canary back.
    """

    metric: Metric
    canary_rate: float
    stable_rate: float
    least_ratio: float | None
    ratio_confidence: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a rollout is where it is.

    Attributes:
        log_e: Log of the evidence that the canary is worse; `suspicious_at` and `turned_back_at` are its lines, as
            e-values.
        p: Anytime-valid, 1/E and at most 1; never to be shown without `p_means`.
        excess_at_most: So many more of the canary's answers are bad at most, a share; 1.0 while nothing is excluded.
    """

    sentence: str
    log_e: float
    suspicious_at: float
    turned_back_at: float
    p: float
    p_means: str
    weights: tuple[AtWeight, ...]
    certain: tuple[Certainty, ...]
    excess_at_most: float
    excess_confidence: float
    excess_sentence: str


def explain(evidence: Evidence, policy: Policy, seen: Assessment) -> Explanation:
    """Everything that follows from what was counted; `seen` is the assessment of the two."""
    canary, stable = evidence.canary, evidence.stable
    p = min(1.0, exp(-min(seen.log_e, 700.0)))
    return Explanation(
        sentence=_HEADLINES[seen.verdict].format(canary=canary, stable=stable),
        log_e=seen.log_e,
        suspicious_at=policy.freeze_at,
        turned_back_at=1.0 / policy.alpha_rollback,
        p=p,
        p_means=f"anytime-valid p = 1/E = {p:.2g}, not the probability that {canary} is bad",
        weights=tuple(
            AtWeight(weight_bp, epoch.canary, epoch.stable) for weight_bp, epoch in drawn_by_coin(evidence).items()
        ),
        certain=tuple(_certain(evidence, policy, seen)),
        excess_at_most=seen.excess_bound,
        excess_confidence=1.0 - policy.alpha_promotion,
        excess_sentence=_excess(evidence, policy, seen),
    )


def _certain(evidence: Evidence, policy: Policy, seen: Assessment) -> Iterator[Certainty]:
    if seen.verdict is Verdict.INVALID:
        return
    for guardrail in policy.guardrails:
        rate = kind_of(guardrail.metric).rate
        if rate is not None and not guardrail.dry_run:
            certainty = _certainty(evidence, policy, guardrail, rate, seen)
            if certainty is not None:
                yield certainty


def _certainty(
    evidence: Evidence, policy: Policy, guardrail: Guardrail, rate: Rate, found: Assessment
) -> Certainty | None:
    """None before both arms have answered at one weight."""
    metric, epochs = guardrail.metric, drawn_by_coin(evidence)
    seen = rates(epochs, rate.bad, JUDGED)
    if seen is None:
        return None
    alpha = policy.alpha_rollback
    log_e = next(each.log_e_worse or 0.0 for each in found.findings if each.metric == metric and not each.dry_run)
    ratio = least_harm_ratio(outcomes(epochs, rate.bad, DRAWN), log_e, log_limit(policy, guardrail))
    least = None if ratio < _NO_LEAST_RATIO else ratio
    said = "nothing is excluded yet" if least is None else f"at least {least:.2f} times {evidence.stable}'s"
    sentence = (
        f"{rate.answers}: {percent(seen.canary)} for {evidence.canary}, {percent(seen.stable)} for "
        f"{evidence.stable} at the same weights; {said}, {sure(alpha)}"
    )
    return Certainty(metric, seen.canary, seen.stable, least, 1.0 - alpha, sentence)


def _excess(evidence: Evidence, policy: Policy, seen: Assessment) -> str:
    is_known = seen.verdict is not Verdict.INVALID and rates(drawn_by_coin(evidence), BAD, JUDGED) is not None
    if not is_known or seen.excess_bound >= 1.0:
        return f"how many more answers of {evidence.canary} may be bad is not known yet"
    return (
        f"at most {percent(seen.excess_bound)} more of {evidence.canary}'s answers are bad, "
        f"{sure(policy.alpha_promotion)}"
    )


@dataclass(frozen=True, slots=True)
class PairedFinding:
    """What a mirror's pairs say: each exchange was answered by both versions.

    Attributes:
        pairs: Copies that ended beside an answer that had ended.
        mirror_only_failed, primary_only_failed: Pairs in which one of the two answers was bad.
        log_e: Log of the evidence that the mirrored version fails more often.
    """

    pairs: int
    mirror_only_failed: int
    primary_only_failed: int
    log_e: float
    sentence: str


def explain_pairs(
    mirror: str, primary: str, pairs: int, mirror_only_failed: int, primary_only_failed: int, policy: Policy
) -> PairedFinding:
    """What the pairs of a mirror say, against the lines a rollout under `policy` would have."""
    log_e = log_e_discordant(mirror_only_failed, primary_only_failed)
    said = "nothing says that it fails more often"
    if log_e >= log(1.0 / policy.alpha_rollback):
        said = "it is proven to fail more often"
    elif log_e >= log(policy.freeze_at):
        said = "it looks as if it failed more often, which is not proven"
    sentence = (
        f"Of {pairs:,} pairs {mirror_only_failed:,} failed for {mirror} alone "
        f"and {primary_only_failed:,} for {primary} alone: {said}."
    )
    return PairedFinding(pairs, mirror_only_failed, primary_only_failed, log_e, sentence)
