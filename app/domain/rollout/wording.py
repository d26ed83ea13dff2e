"""What a decision row says: its sentence and the figures that let anyone recompute it."""

from collections.abc import Mapping
from dataclasses import asdict
from math import exp

from app.domain.evidence.evidence import ArmCounts, Evidence
from app.domain.guardrails.finding import Assessment, Hold
from app.domain.guardrails.phrases import percent, points
from app.domain.guardrails.registry import kind_of
from app.domain.rollout.rollout import Rollout

# Beyond this an e-value is only shown as "more than".
_MOST_SHOWN = 1e9
# Of each arm at each weight; every outcome by itself is in what the decision was made from.
_COUNTED = ("drawn", "ended", "judged", "errors", "timeouts", "timed", "awaited")


def account(rollout: Rollout, assessment: Assessment | None = None) -> Mapping[str, object]:
    """The totals, limits and results behind a decision, JSON values only."""
    numbers: dict[str, object] = {"weight_bp": rollout.weight_bp, **_totals(rollout.evidence)}
    policy = rollout.policy
    numbers["limits"] = {
        "roll_back_at": 1.0 / policy.alpha_rollback,
        "promote_at": 1.0 / policy.alpha_promotion,
        "freeze_at": policy.freeze_at,
        "thaw_below": policy.thaw_below,
    }
    if assessment is not None:
        numbers["log_e"] = assessment.log_e
        numbers["excess_bound"] = assessment.excess_bound
        numbers["exchanges_per_s"] = assessment.exchanges_per_s
        numbers["canary_answers"] = assessment.canary_answers
        numbers["stable_answers"] = assessment.stable_answers
        numbers["extra_bad"] = assessment.extra_bad
        numbers["held_by"] = assessment.held_by
        numbers["unverified"] = list(assessment.unverified)
        numbers["findings"] = [
            {
                "metric": str(finding.trigger),
                "dry_run": finding.dry_run,
                "verdict": str(finding.verdict),
                "log_e_worse": finding.log_e_worse,
                "log_e_not_worse": finding.log_e_not_worse,
                "sentence": finding.sentence,
                **finding.numbers,
            }
            for finding in assessment.findings
        ]
    return numbers


def _totals(evidence: Evidence) -> Mapping[str, object]:
    """What was counted, and what it is compared with."""
    return {
        "counted_per": "caller" if evidence.per_caller else "exchange",
        "error_reference": evidence.error_reference,
        "usual_rate": evidence.lately.usual_rate,
        "stretches": [asdict(stretch) for stretch in evidence.lately.stretches],
        "flaw": evidence.flaw,
        "read_through": {str(horizon): second for horizon, second in evidence.read_through.items()},
        "thresholds": [asdict(threshold) for threshold in evidence.thresholds],
        "epochs": [
            {"weight_bp": weight_bp, "canary": _arm(epoch.canary), "stable": _arm(epoch.stable)}
            for weight_bp, epoch in sorted(evidence.by_weight.items())
        ],
    }


def _arm(counts: ArmCounts) -> Mapping[str, object]:
    return {**{name: getattr(counts, name) for name in _COUNTED}, "slow": list(counts.slow)}


def turned_back(rollout: Rollout, seen: Assessment) -> str:
    """Why evidence turned the canary back."""
    answers = seen.canary_answers + seen.stable_answers
    finding = seen.heaviest
    kind = kind_of(finding.metric)
    extra = max(0.0, finding.numbers.get("extra", 0.0))
    too_many = "" if kind.extra is None else f", about {extra:,.0f} {kind.extra} answers too many"
    return (
        f"Turned {rollout.canary} back after {answers:,} answers ({seen.canary_answers:,} of its own): "
        f"{_clause(finding.sentence)}; evidence {evidence_text(seen)} of {1.0 / rollout.policy.alpha_rollback:,.0f} "
        f"needed{too_many}."
    )


def promoted(rollout: Rollout, seen: Assessment) -> str:
    """Why evidence promoted the canary, and what it does not know."""
    answers = seen.canary_answers + seen.stable_answers
    every = "every guardrail that is waited for" if seen.unverified else "every guardrail"
    sentence = (
        f"Promoted {rollout.canary} after {answers:,} answers ({seen.canary_answers:,} of its own): "
        f"{every} shows it not worse than {rollout.stable} by more than its margin"
    )
    if seen.unverified:
        sentence += f"; {' and '.join(seen.unverified)} unverified"
    if seen.forward is not None:
        sentence += f"; {seen.forward}"
    return f"{sentence}."


def let_through(rollout: Rollout, seen: Assessment) -> str:
    """Why the deadline promoted a canary that is not proven."""
    return (
        f"Promoted {rollout.canary} because its time was over, not proven: at most "
        f"{points(seen.excess_bound)} more of its answers are bad than {rollout.stable}'s, and the policy "
        f"lets {points(rollout.policy.deadline_margin or 0.0)} through."
    )


def held(rollout: Rollout, why: Hold, weight_bp: int) -> str:
    """Why the canary must stay at its lowest weight for now."""
    return f"Holding {rollout.canary} at {weight_text(weight_bp)}: {why.because}."


def frozen(rollout: Rollout, seen: Assessment, weight_bp: int) -> str:
    """Why the weight is held for now."""
    finding = seen.heaviest
    return (
        f"Holding {rollout.canary} at {weight_text(weight_bp)}: {_clause(finding.sentence)}; "
        f"evidence {evidence_text(seen)} is suspicious but not proof."
    )


def moved(rollout: Rollout, seen: Assessment, weight_bp: int) -> str:
    """Why the weight went up or down."""
    way = "goes up" if weight_bp > rollout.weight_bp else "goes down"
    return (
        f"{rollout.canary} {way} from {weight_text(rollout.weight_bp)} to {weight_text(weight_bp)} of the traffic: "
        f"at most {percent(seen.excess_bound)} more of its answers can be bad, at "
        f"{rate_text(seen.exchanges_per_s)} exchanges a second."
    )


def evidence_text(seen: Assessment) -> str:
    """The combined e-value, short."""
    e = exp(min(seen.log_e, 50.0))
    return f"{e:,.3g}" if e < 100.0 else f"{e:,.0f}" if e < _MOST_SHOWN else f"over {_MOST_SHOWN:,.0f}"


def rate_text(per_s: float) -> str:
    """A rate, whole from ten on."""
    return f"{per_s:,.0f}" if per_s >= 9.5 else f"{per_s:.2g}"


def weight_text(weight_bp: int) -> str:
    """A weight in percent, as short as it is exact."""
    return f"{weight_bp / 100:g} %"


def span_text(seconds: float) -> str:
    """A length of time in its largest fitting unit."""
    for unit, length in (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}{'' if seconds == length else 's'}"
    return f"{seconds:.3g} s"


def _clause(sentence: str) -> str:
    return sentence.rstrip(".")
