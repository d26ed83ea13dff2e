"""Answers that say 200 and are wrong in themselves: flawed ones, predictions that are always the same, or strange.

Rule: half of the evidence is on flaws, half on what is predicted, from the start; promotion needs the proof of both.
What was not read is neither good nor bad: where one version's answers are read more often than the coin explains,
nothing is proven.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, log

from app.domain.catalog.policy import Guardrail, Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.absorb_observed import read_by_coin
from app.domain.evidence.estimates import BadOf, rates_of
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import ObservedEpoch
from app.domain.evidence.observed import Flaw
from app.domain.guardrails import model_sentences, sentences
from app.domain.guardrails.coverage import Coverage, Covered, coverage_of
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.learnt_signature import Strange, strange
from app.domain.guardrails.limits import WORSE_VERDICTS, if_split_is_trusted, margin_of, numbers_of, verdict_of
from app.domain.guardrails.output_collapse import Variety, variety
from app.domain.stats.eprocess import Outcomes, log_e_full, log_e_tilt, log_weighted_mean
from app.domain.stats.harm import of_halves
from app.domain.stats.score import ScoreEpoch, binary, increments, log_e_not_worse, scaled

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class _Weighed:
    """Both directions of evidence, as logarithms.

    Attributes:
        flaws: That the canary's answers are flawed more often.
        sound: That they are not, by more than the margin.
        varied: Whether the predictions are always the same; None where nothing can be said of them.
        strange: Whether they are of a kind that stable never gave; None likewise.
        familiar: That they are not, by more than the margin.
    """

    flaws: float
    sound: float
    varied: Variety | None
    strange: Strange | None
    familiar: float

    @property
    def worse(self) -> float:
        return log_weighted_mean(((_HALF, self.flaws), (_HALF, self._predicted)))

    @property
    def _same(self) -> float:
        return self.varied.log_e_collapsed if self.varied else 0.0

    @property
    def _predicted(self) -> float:
        return of_halves(self._same, self.strange.log_e) if self.strange else self._same

    @property
    def not_worse(self) -> float:
        varied = self.varied.log_e_varied if self.varied else inf
        return min(self.sound, varied, self.familiar)

    @property
    def is_sameness(self) -> bool:
        """Whether sameness weighs most in the harm."""
        return self._same > self.flaws and not self.is_strangeness

    @property
    def is_strangeness(self) -> bool:
        """Whether strange predictions do."""
        return self.strange is not None and self.strange.log_e > max(self.flaws, self._same)


def judge_validity(evidence: Evidence, policy: Policy, guardrail: Guardrail) -> Finding:
    """Flawed answers by P1 and P2, as errors are; predictions by `variety` and `strange`, if what is usual is known."""
    epochs = read_by_coin(evidence)
    answers = sum(epoch.canary.read for epoch in epochs.values())
    if not answers:
        sentence = model_sentences.of_nothing_read(evidence)
        return Finding(guardrail.metric, Verdict.NO_EVENTS, None, None, sentence, dry_run=guardrail.dry_run)
    read = coverage_of(Covered(bp, epoch.canary.read, epoch.stable.read) for bp, epoch in epochs.items())
    weighed = _weighed(evidence, policy, guardrail, read)
    verdict = verdict_of(policy, guardrail, weighed.worse, weighed.not_worse, answers)
    numbers = _numbers(epochs, weighed, verdict)
    sentence = _sentence(evidence, policy, weighed, verdict, numbers)
    sentence = model_sentences.with_uneven(sentence, evidence, "Answers are read", uneven=read.is_uneven)
    sentence = sentences.with_consequence(sentence, evidence.canary, guardrail, verdict)
    return Finding(
        guardrail.metric, verdict, weighed.worse, weighed.not_worse, sentence, numbers, dry_run=guardrail.dry_run
    )


def _counts(epochs: Mapping[int, ObservedEpoch]) -> tuple[BadOf, ...]:
    return tuple(
        BadOf(bp, epoch.canary.read, epoch.canary.flawed, epoch.stable.read, epoch.stable.flawed)
        for bp, epoch in epochs.items()
    )


def _weighed(evidence: Evidence, policy: Policy, guardrail: Guardrail, read: Coverage) -> _Weighed:
    odd = strange(evidence)
    return _Weighed(
        flaws=_flaws(evidence, read),
        sound=read.proof(_soundness(_counts(read_by_coin(evidence)), evidence, policy, guardrail)),
        varied=variety(evidence),
        strange=odd,
        familiar=inf if odd is None else _soundness(odd.epochs, evidence, policy, guardrail),
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


def _soundness(counts: Iterable[BadOf], evidence: Evidence, policy: Policy, guardrail: Guardrail) -> float:
    """Evidence against "the canary's share of bad ones is at least the margin above stable's"."""
    reference = evidence.of_model.flaw_reference
    margin = margin_of(reference, policy, guardrail)
    epochs = (
        ScoreEpoch(
            each.weight_bp / FULL_BP,
            binary(each.canary_n, each.canary_bad),
            binary(each.stable_n, each.stable_bad),
            each.canary_n + each.stable_n,
        )
        for each in counts
        if each.stable_n
    )
    totals = scaled(increments(epochs, reference), margin.proof_step)
    return log_e_not_worse(totals, margin.delta, margin.rho, margin.proof_step)


def _numbers(epochs: Mapping[int, ObservedEpoch], weighed: _Weighed, verdict: Verdict) -> Mapping[str, float]:
    numbers = dict(numbers_of(rates_of(_counts(epochs))))
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
    if weighed.strange is not None and weighed.is_strangeness and verdict in WORSE_VERDICTS:
        numbers |= _strange_numbers(weighed.strange)
    return numbers


def _strange_numbers(found: Strange) -> Mapping[str, float]:
    rates = rates_of(found.epochs)
    if rates is None:
        return {}
    return {"canary_strange": rates.canary, "stable_strange": rates.stable, "extra": rates.extra}


def _sentence(
    evidence: Evidence, policy: Policy, weighed: _Weighed, verdict: Verdict, numbers: Mapping[str, float]
) -> str:
    if weighed.varied is not None and weighed.is_sameness and verdict in WORSE_VERDICTS:
        return model_sentences.of_sameness(evidence, weighed.varied, verdict)
    if weighed.strange is not None and weighed.is_strangeness and verdict in WORSE_VERDICTS:
        return model_sentences.of_strangeness(evidence, weighed.strange, verdict, numbers)
    sentence = model_sentences.of_flaws(evidence, verdict, numbers)
    limit = log(1.0 / policy.alpha_promotion)
    if verdict is not Verdict.INCONCLUSIVE_HEALTHY:
        return sentence
    if weighed.varied is not None and weighed.varied.log_e_varied < limit:
        return model_sentences.with_variety_wanted(sentence, evidence)
    if weighed.familiar < limit:
        return model_sentences.with_familiarity_wanted(sentence, evidence)
    return sentence
