"""A kind of guardrail: all that is particular to one metric, in one object.

Rule: whoever goes through the guardrails of a policy asks their kinds, and never which metric it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import TypeAlias

from app.domain.catalog.models import Model
from app.domain.catalog.policy import Guardrail, Metric, OnRegression, Policy
from app.domain.evidence.estimates import Count
from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.finding import Finding, Slice, Verdict

# Fewer canary answers than this are called too few to say anything.
MIN_ANSWERS = 50


@dataclass(frozen=True, slots=True)
class Terms:
    """What one guardrail is held to.

    Attributes:
        log_limit: Evidence of harm that is proof by itself; its share of alpha_rollback is in it.
    """

    policy: Policy
    guardrail: Guardrail
    log_limit: float

    @property
    def log_proof(self) -> float:
        """Evidence of no harm that is proof."""
        return log(1.0 / self.policy.alpha_promotion)

    def verdict(self, worse: float, not_worse: float | None, answers: int) -> Verdict:
        """What the two directions of evidence come to, as logarithms.

        Args:
            answers: How many of the canary's were judged.
        """
        if worse >= self.log_limit:
            return Verdict.REGRESSED
        if worse >= log(self.policy.freeze_at):
            return Verdict.INCONCLUSIVE_WORSE
        if not answers:
            return Verdict.NO_EVENTS
        if not_worse is not None and not_worse >= self.log_proof and worse < log(self.policy.thaw_below):
            return Verdict.HEALTHY
        return Verdict.INSUFFICIENT_DATA if answers < MIN_ANSWERS else Verdict.INCONCLUSIVE_HEALTHY

    def finding(
        self,
        evidence: Evidence,
        verdict: Verdict,
        log_e: tuple[float, float | None],
        sentence: str,
        numbers: Mapping[str, float],
        *,
        held_because: str | None = None,
        slice: Slice | None = None,  # noqa: A002 -- as the finding calls it
    ) -> Finding:
        """What the guardrail says.

        Args:
            log_e: Evidence of harm, and of no harm.
        """
        said = _with_consequence(sentence, evidence.canary, self.guardrail, verdict)
        dry_run = self.guardrail.dry_run
        return Finding(self.guardrail.metric, verdict, *log_e, said, numbers, dry_run, held_because, slice)

    def nothing(self, sentence: str, verdict: Verdict = Verdict.NO_EVENTS) -> Finding:
        """That it has nothing to judge."""
        return Finding(self.guardrail.metric, verdict, None, None, sentence, dry_run=self.guardrail.dry_run)


def _with_consequence(sentence: str, canary: str, guardrail: Guardrail, verdict: Verdict) -> str:
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


@dataclass(frozen=True, slots=True)
class Rate:
    """One outcome of answers as a rate.

    Attributes:
        bad: Which answers are meant.
        usual: How often stable gave them before the start, in (0, 1), fixed for ever.
        noun: The rate, where a sentence begins.
        answers: The answers, within a sentence.
        said: What the canary's answers are where it is proven not worse.
        together: Counts that are tested in one go, this one among them; that takes little longer than one of them.
    """

    bad: Count
    usual: Callable[[Evidence], float]
    noun: str
    answers: str
    said: str = "bad"
    together: tuple[Count, ...] = ()


Wants: TypeAlias = Callable[[Evidence, Policy, Finding], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailKind:  # ADR 0150
    """All that is particular to one metric.

    Attributes:
        usual: The guardrail of which nothing is said but the metric; a number that it lacks means nothing here.
        ranges: Least and greatest value of each of its numbers, both allowed.
        share: Its part of alpha_rollback, renormalised over the kinds that a policy names.
        judge: Says what the evidence says.
        is_proven: Whether it can be proven that the canary is not worse; else promotion never waits for it.
        is_usual: Whether it judges a model's rollouts whose policy names no guardrail.
        completed: The guardrail with what the model declares; raises InvalidInput, naming the field, where the model
            lacks something.
        takes_of: Whether it means one of the model's declared measures.
        rate: Where it is a rate of one outcome.
        extra: What the answers are called of which the canary gives too many; None where they are not counted.
        wants: The proof that promotion still waits for, as a clause.
    """

    usual: Guardrail
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    share: float
    judge: Callable[[Evidence, Terms], Finding]
    is_proven: bool = True
    is_usual: Callable[[Model], bool] = lambda _: False
    completed: Callable[[Guardrail, Model, str], Guardrail] = lambda guardrail, _model, _field: guardrail
    takes_of: bool = False
    rate: Rate | None = None
    extra: str | None = "bad"
    wants: Wants = lambda _evidence, _policy, _finding: None

    @property
    def metric(self) -> Metric:
        return self.usual.metric


def of_every_model(_: Model) -> bool:
    """For `is_usual`."""
    return True


def wants_proof(claim: str) -> Wants:
    """For `wants`: how far the proof is that the canary is what is claimed; `{stable}` stands for stable's name."""

    def wants(evidence: Evidence, policy: Policy, finding: Finding) -> str:
        if finding.log_e_not_worse is None:
            return finding.sentence.rstrip(".")
        so_far = exp(min(finding.log_e_not_worse, 50.0))
        said = claim.format(stable=evidence.stable)
        return f"proof that {evidence.canary} {said}: evidence {so_far:,.2g} of {1.0 / policy.alpha_promotion:,.0f}"

    return wants
