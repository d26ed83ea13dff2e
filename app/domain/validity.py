"""Answers that say 200 and are wrong in themselves: flawed ones, and predictions that are always the same.

Rule: half of the evidence is on flaws, half on sameness, from the start; promotion needs the proof of both. What
was not read is neither good nor bad: where one version's answers are read more often than the coin explains, nothing
is proven.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

from app.domain import model_sentences, sentences
from app.domain.coverage import Coverage, Covered, coverage_of
from app.domain.estimates import Rates
from app.domain.evidence import Outcomes, log_e_full, log_e_tilt, log_weighted_mean
from app.domain.finding import Finding, Verdict
from app.domain.guardrails import WORSE_VERDICTS, if_split_is_trusted, margin_of, numbers_of, verdict_of
from app.domain.harm import of_halves
from app.domain.ledger import Evidence
from app.domain.model_evidence import ObservedEpoch
from app.domain.observed import Flaw
from app.domain.observed_ledger import read_by_coin
from app.domain.policy import Guardrail, Policy
from app.domain.routing import FULL_BP
from app.domain.score import ScoreEpoch, binary, increments, log_e_not_worse, scaled
from app.domain.variety import Variety, variety

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class _Weighed:
    """Both directions of evidence, as logarithms.

    Attributes:
        flaws: That the canary's answers are flawed more often.
        sound: That they are not, by more than the margin.
        varied: What the predictions say; None where nothing can be said of them.
    """

    flaws: float
    sound: float
    varied: Variety | None

    @property
    def worse(self) -> float:
        same = self.varied.log_e_collapsed if self.varied else 0.0
        return log_weighted_mean(((_HALF, self.flaws), (_HALF, same)))

    @property
    def not_worse(self) -> float:
        return min(self.sound, self.varied.log_e_varied) if self.varied else self.sound

    @property
    def is_sameness(self) -> bool:
        """Whether sameness weighs more in the harm."""
        return self.varied is not None and self.varied.log_e_collapsed > self.flaws


def judge_validity(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Finding:
    """Flawed answers by P1 and P2, as errors are; sameness by `variety`, where it is known what is usual."""
    epochs = read_by_coin(evidence)
    answers = sum(epoch.canary.read for epoch in epochs.values())
    if not answers:
        sentence = model_sentences.of_nothing_read(evidence)
        return Finding(guardrail.metric, Verdict.NO_EVENTS, None, None, sentence, dry_run=guardrail.dry_run)
    read = coverage_of(Covered(bp, epoch.canary.read, epoch.stable.read) for bp, epoch in epochs.items())
    weighed = _Weighed(_flaws(evidence, read), read.proof(_soundness(evidence, policy, guardrail)), variety(evidence))
    verdict = verdict_of(policy, guardrail, weighed.worse, weighed.not_worse, answers)
    numbers = _numbers(epochs, weighed, verdict)
    sentence = _sentence(evidence, policy, weighed, verdict, numbers)
    sentence = model_sentences.with_uneven(sentence, evidence, "Answers are read", uneven=read.is_uneven)
    sentence = sentences.with_consequence(sentence, evidence.canary, guardrail, verdict)
    return Finding(
        guardrail.metric, verdict, weighed.worse, weighed.not_worse, sentence, numbers, dry_run=guardrail.dry_run
    )


def _flaws(evidence: Evidence, read: Coverage) -> float:
    """As `harm.log_e_harm`; unflawed answers speak only while they are read as the coin says."""
    outcomes = [
        Outcomes(
            bp / FULL_BP,
            epoch.canary.flawed,
            epoch.stable.flawed,
            epoch.canary.read - epoch.canary.flawed,
            epoch.stable.read - epoch.stable.flawed,
        )
        for bp, epoch in read_by_coin(evidence).items()
    ]
    (with_good,) = if_split_is_trusted(evidence, [log_e_full(outcomes, evidence.of_model.flaw_reference)])
    return of_halves(log_e_tilt(outcomes), read.harm(with_good))


def _soundness(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> float:
    """Evidence against "the canary's share of flawed answers is at least the margin above stable's"."""
    reference = evidence.of_model.flaw_reference
    margin = margin_of(reference, policy, guardrail)
    epochs = (
        ScoreEpoch(
            bp / FULL_BP,
            binary(epoch.canary.read, epoch.canary.flawed),
            binary(epoch.stable.read, epoch.stable.flawed),
            epoch.canary.read + epoch.stable.read,
        )
        for bp, epoch in read_by_coin(evidence).items()
        if epoch.stable.read
    )
    totals = scaled(increments(epochs, reference), margin.proof_step)
    return log_e_not_worse(totals, margin.delta, margin.rho, margin.proof_step)


def _numbers(epochs: Mapping[int, ObservedEpoch], weighed: _Weighed, verdict: Verdict) -> Mapping[str, float]:
    numbers = dict(numbers_of(_rates(epochs)))
    for flaw in Flaw:
        count = sum(epoch.canary.flaws.get(flaw, 0) for epoch in epochs.values())
        if count:
            numbers[f"canary_{flaw}"] = float(count)
    varied = weighed.varied
    if varied is not None:
        numbers |= {"canary_same": varied.canary_share, "stable_same": varied.stable_share}
        if weighed.is_sameness and verdict in WORSE_VERDICTS:
            read = sum(epoch.canary.read for epoch in epochs.values())
            numbers["extra"] = (varied.canary_share - varied.stable_share) * read
    return numbers


def _rates(epochs: Mapping[int, ObservedEpoch]) -> Rates | None:
    """As `estimates.rates`, of flawed answers among those that were read."""
    both = [epoch for epoch in epochs.values() if epoch.canary.read and epoch.stable.read]
    read = sum(epoch.canary.read for epoch in both)
    if not read:
        return None
    flawed = sum(epoch.canary.flawed for epoch in both)
    expected = sum(epoch.canary.read * epoch.stable.flawed / epoch.stable.read for epoch in both)
    return Rates(flawed / read, expected / read, flawed - expected)


def _sentence(
    evidence: Evidence, policy: Policy, weighed: _Weighed, verdict: Verdict, numbers: Mapping[str, float]
) -> str:
    if weighed.varied is not None and weighed.is_sameness and verdict in WORSE_VERDICTS:
        return model_sentences.of_sameness(evidence, weighed.varied, verdict)
    sentence = model_sentences.of_flaws(evidence, verdict, numbers)
    is_wanted = weighed.varied is not None and weighed.varied.log_e_varied < log(1.0 / policy.alpha_promotion)
    if is_wanted and verdict is Verdict.INCONCLUSIVE_HEALTHY:
        return model_sentences.with_variety_wanted(sentence, evidence)
    return sentence
