"""Answers that say 200 and are wrong in themselves: flawed ones, predictions that are always the same, or strange.

Rule: half of the evidence is on flaws, half on what is predicted, from the start; promotion needs the proof of both.
What was not read is neither good nor bad: where one version's answers are read more often than the coin explains,
nothing is proven.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from app.domain.catalog.policy import Guardrail, Metric
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.absorb_observed import read_by_coin
from app.domain.evidence.estimates import BadOf, rates_of
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import ObservedEpoch
from app.domain.evidence.observed import Flaw
from app.domain.guardrails.finding import WORSE_VERDICTS, Finding, Verdict
from app.domain.guardrails.kind import GuardrailKind, Terms, wants_proof
from app.domain.guardrails.learnt_signature import Strange, strange
from app.domain.guardrails.output_collapse import Variety, variety
from app.domain.guardrails.phrases import CLOSINGS, not_read, percent, with_uneven
from app.domain.guardrails.rates import margin_of, numbers_of
from app.domain.guardrails.split import Coverage, Covered, coverage_of, if_split_is_trusted
from app.domain.stats.eprocess import Outcomes, log_e_full, log_e_tilt, log_weighted_mean
from app.domain.stats.harm import of_halves
from app.domain.stats.score import ScoreEpoch, binary, increments, log_e_not_worse, scaled

_HALF = 0.5
_FLAWS = {
    Flaw.NONFINITE: "with numbers that are none",
    Flaw.SCHEMA: "not as declared",
    Flaw.EMPTY: "empty",
    Flaw.REFUSED: "refused",
    Flaw.STREAM: "with a stream that ended badly",
}


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


def judge_validity(evidence: Evidence, terms: Terms) -> Finding:
    """Flawed answers by P1 and P2, as errors are; predictions by `variety` and `strange`, if what is usual is known."""
    epochs = read_by_coin(evidence)
    answers = sum(epoch.canary.read for epoch in epochs.values())
    if not answers:
        return terms.nothing(f"Validity is not judged: {not_read(evidence)}.")
    read = coverage_of(Covered(bp, epoch.canary.read, epoch.stable.read) for bp, epoch in epochs.items())
    weighed = _weighed(evidence, terms, read)
    verdict = terms.verdict(weighed.worse, weighed.not_worse, answers)
    numbers = _numbers(epochs, weighed, verdict)
    sentence = _sentence(evidence, terms, weighed, verdict, numbers)
    sentence = with_uneven(sentence, evidence, "Answers are read", uneven=read.is_uneven)
    return terms.finding(evidence, verdict, (weighed.worse, weighed.not_worse), sentence, numbers)


def _counts(epochs: Mapping[int, ObservedEpoch]) -> tuple[BadOf, ...]:
    return tuple(
        BadOf(bp, epoch.canary.read, epoch.canary.flawed, epoch.stable.read, epoch.stable.flawed)
        for bp, epoch in epochs.items()
    )


def _weighed(evidence: Evidence, terms: Terms, read: Coverage) -> _Weighed:
    odd = strange(evidence)
    return _Weighed(
        flaws=_flaws(evidence, read),
        sound=read.proof(_soundness(_counts(read_by_coin(evidence)), evidence, terms)),
        varied=variety(evidence),
        strange=odd,
        familiar=inf if odd is None else _soundness(odd.epochs, evidence, terms),
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


def _soundness(counts: Iterable[BadOf], evidence: Evidence, terms: Terms) -> float:
    """Evidence against "the canary's share of bad ones is at least the margin above stable's"."""
    reference = evidence.of_model.flaw_reference
    margin = margin_of(reference, terms.policy, terms.guardrail)
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
    evidence: Evidence, terms: Terms, weighed: _Weighed, verdict: Verdict, numbers: Mapping[str, float]
) -> str:
    if weighed.varied is not None and weighed.is_sameness and verdict in WORSE_VERDICTS:
        return _of_sameness(evidence, weighed.varied, verdict)
    if weighed.strange is not None and weighed.is_strangeness and verdict in WORSE_VERDICTS:
        return _of_strangeness(evidence, weighed.strange, verdict, numbers)
    sentence = _of_flaws(evidence, verdict, numbers)
    if verdict is not Verdict.INCONCLUSIVE_HEALTHY:
        return sentence
    if weighed.varied is not None and weighed.varied.log_e_varied < terms.log_proof:
        wanted = f"That {evidence.canary} predicts different things, as {evidence.stable} does, is not proven yet."
        return f"{sentence} {wanted}"
    if weighed.familiar < terms.log_proof:
        return f"{sentence} That {evidence.canary} predicts only what {evidence.stable} does is not proven yet."
    return sentence


def _of_flaws(evidence: Evidence, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """Flawed answers of both arms, and what is wrong with the canary's."""
    if "canary_rate" not in numbers:
        return f"Flawed answers: {evidence.stable} has given none to compare with at the same weights yet."
    kinds = {_FLAWS[flaw]: numbers[f"canary_{flaw}"] for flaw in Flaw if f"canary_{flaw}" in numbers}
    named = ", ".join(f"{count:,.0f} {kind}" for kind, count in kinds.items())
    return (
        f"Flawed answers {percent(numbers['canary_rate'])} for {evidence.canary}, "
        f"{percent(numbers['stable_rate'])} for {evidence.stable} at the same weights"
        f"{f' ({named})' if named else ''}{CLOSINGS[verdict]}."
    )


def _of_sameness(evidence: Evidence, varied: Variety, verdict: Verdict) -> str:
    """The output that swallowed the others."""
    says = "is proven to predict hardly anything but" if verdict is Verdict.REGRESSED else "predicts, as it seems, only"
    return (
        f"{evidence.canary} {says} {varied.output}: in {percent(varied.canary_share)} of its answers, "
        f"{percent(varied.stable_share)} of {evidence.stable}'s at the same weights."
    )


def _of_strangeness(evidence: Evidence, found: Strange, verdict: Verdict, numbers: Mapping[str, float]) -> str:
    """What the canary predicts and stable never did."""
    says = "is proven to predict what" if verdict is Verdict.REGRESSED else "predicts, as it seems, what"
    shares = ""
    if "canary_strange" in numbers:
        shares = (
            f", in {percent(numbers['canary_strange'])} of its answers, {percent(numbers['stable_strange'])} of "
            f"{evidence.stable}'s at the same weights"
        )
    return (
        f"{evidence.canary} {says} {evidence.stable} never did, mostly {found.what}{shares}; "
        f"a version that means to is registered with a signature."
    )


KIND = GuardrailKind(
    usual=Guardrail(Metric("validity"), margin=0.5, floor=0.01),
    ranges={"margin": (0.0, 100.0), "floor": (1e-5, 0.5)},
    share=0.10,
    judge=judge_validity,
    is_usual=lambda model: model.observation is not None,
    wants=wants_proof("gives no more flawed answers, and different ones where {stable} does"),
)
