"""Counts of every kind under policies of every kind: what the engine says of each pair."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from domain.counts import HISTORY, START, arm, ended, evidence
from pydantic import TypeAdapter

from app.domain.catalog.policy import OnRegression, Policy
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.recent import Lately, Stretch
from app.domain.evidence.tally import Outcome, Tally
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Assessment
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL
from app.domain.reports.explanation import explain
from app.domain.reports.outlook import Outlook, outlook

ERRORS, TIMEOUTS, LATENCY = EVERY_MODEL

POLICIES: Mapping[str, Policy] = {
    "default": DEFAULT_POLICY,
    "errors alone": replace(
        DEFAULT_POLICY, guardrails=(ERRORS,), alpha_rollback=0.02, alpha_promotion=0.1, deadline_s=86_400.0
    ),
    "ceiling": replace(
        DEFAULT_POLICY, guardrails=(replace(LATENCY, quantile=0.9), ERRORS), error_ceiling=0.03, max_weight_bp=500
    ),
    "held and warned": replace(
        DEFAULT_POLICY,
        guardrails=(
            replace(ERRORS, on_regression=OnRegression.HOLD, margin=0.2, floor=0.002),
            replace(TIMEOUTS, on_regression=OnRegression.WARN),
            replace(LATENCY, required=False, margin=0.1),
            replace(ERRORS, dry_run=True),
            replace(TIMEOUTS, dry_run=True, on_regression=OnRegression.HOLD),
            replace(LATENCY, dry_run=True, on_regression=OnRegression.WARN, margin=0.0, floor=0.0),
        ),
    ),
}


def timed(judged: int, errors: int = 0, timeouts: int = 0, slow: float = 0.05, untimed: int = 0) -> ArmCounts:
    """An arm whose answers were timed too: so many beyond each threshold as this share of them."""
    timed = judged - untimed
    return replace(
        ended(judged + judged // 50, judged + judged // 100, judged, errors, timeouts),
        timed=timed,
        slow=tuple(int(timed * slow / (1 + place)) for place in range(16)),
        awaited=judged,
    )


def _lost(timed: ArmCounts) -> ArmCounts:
    """The same of 2,000 exchanges that were drawn, of which 400 were broken off and 100 never ended."""
    return replace(timed, drawn=2_000, outcomes={**timed.outcomes, Outcome.CANCELLED: 400})


def stretches(*arms: tuple[int, int, int, int]) -> tuple[Stretch, ...]:
    return tuple(Stretch(START + 10 * place, *counts) for place, counts in enumerate(arms))


def of_late(*arms: tuple[int, int, int, int]) -> dict[str, Any]:
    """Counts of the canary, its bad ones, stable's and its bad ones, by stretch; usually one in a hundred is bad."""
    return {"lately": Lately(stretches(*arms), usual_rate=0.01), "recent": (40, 50, 60)}


BY_WEIGHT: Mapping[str, tuple[dict[int, tuple[ArmCounts, ArmCounts]], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "stable alone": ({0: (arm(0), timed(5_000, 50))}, {"recent": (100,) * 5}),
    "a few good answers": ({100: (timed(20), timed(1_980, 20, 2))}, {}),
    "49 answers": ({1_000: (timed(49, 1), timed(450, 4))}, {}),
    "50 answers": ({1_000: (timed(50, 1), timed(450, 4))}, {}),
    "two bad answers at once": ({1: (timed(2, 2), timed(20_000, 150, 10))}, {}),
    "one short of proof": ({1: (timed(1, 1), timed(20_000, 150, 10))}, {}),
    "suspicious": ({100: (timed(20, 2), timed(1_980, 15))}, {}),
    "suspicious of lateness": ({5_000: (timed(500, 5, 8), timed(500, 5))}, {}),
    "rather bad": ({200: (timed(60, 6), timed(2_940, 30)), 500: (timed(40, 3), timed(760, 8))}, {}),
    "bad, and seen to be": ({5_000: (timed(3_000, 120, 5), timed(3_000, 30, 6))}, {"recent": (900, 1_100)}),
    "late answers": ({5_000: (timed(3_000, 30, 60), timed(3_000, 28, 6))}, {}),
    "as good": ({500: (timed(500, 5), timed(9_500, 90, 3)), 5_000: (timed(20_000, 190, 9), timed(20_000, 200, 8))}, {}),
    "a little worse": ({5_000: (timed(4_000, 60), timed(4_000, 40))}, {"recent": (77, 78, 79)}),
    "slower": ({5_000: (timed(4_000, 40, slow=0.12), timed(4_000, 40, slow=0.05))}, {}),
    "a little slower": ({2_000: (timed(1_000, 10, slow=0.09), timed(4_000, 40, slow=0.05))}, {}),
    "faster": ({5_000: (timed(9_000, 90, slow=0.01), timed(9_000, 90, slow=0.05))}, {}),
    "not timed": ({5_000: (timed(2_000, 20, untimed=700), timed(2_000, 20))}, {}),
    "few of the canary's came": (
        {5_000: (_lost(timed(1_500, 15)), timed(2_000, 20))},
        {},
    ),
    "a coin that is not fair": ({5_000: (timed(1_000, 10), timed(1_400, 14))}, {}),
    "a coin that seems unfair": ({5_000: (timed(1_000, 30), timed(1_140, 11))}, {}),
    "counts that cannot be": ({5_000: (replace(arm(10), drawn=5), arm(10))}, {}),
    "trouble outside": ({5_000: (timed(500, 60), timed(500, 60))}, of_late((200, 30, 200, 30), (300, 30, 300, 30))),
    "stable's own trouble": (
        {5_000: (timed(2_000, 20), timed(2_000, 200))},
        of_late((1_000, 10, 1_000, 90), (500, 5, 500, 55), (500, 5, 500, 55)),
    ),
    "above any ceiling": ({500: (timed(900, 81), timed(9_000, 700))}, of_late((900, 81, 500, 3))),
    "below a ceiling": ({500: (timed(900, 30), timed(9_000, 90))}, of_late((900, 30, 500, 3))),
}

_ASSESSMENT: TypeAdapter[Assessment] = TypeAdapter(Assessment)
_OUTLOOK: TypeAdapter[Outlook] = TypeAdapter(Outlook)


def counted(name: str, policy: Policy, history: Tally = HISTORY) -> Evidence:
    by_weight, more = BY_WEIGHT[name]
    begun = evidence({}, history, policy)
    epochs = {weight_bp: EpochCounts(canary, stable) for weight_bp, (canary, stable) in by_weight.items()}
    return replace(begun, by_weight=epochs, **more)


def _shown(seen: Assessment) -> dict[str, Any]:
    """An assessment as people see it: what decided as one text, what holds and why side by side."""
    document: dict[str, Any] = _ASSESSMENT.dump_python(seen, mode="json")
    del document["hold"]
    findings = document["findings"]
    for each, said in zip(findings, seen.findings, strict=True):
        each["metric"] = str(said.trigger)
        del each["slice"]
    held_because = None if seen.hold is None else seen.hold.because
    told = {
        "trigger": str(seen.trigger),
        "held_by": None if seen.held_by is None else str(seen.held_by),
        "held_because": held_because,
    }
    return {**document, **told, "findings": findings}


def answers(name: str) -> dict[str, Any]:
    """All that is said of these counts, JSON values only."""
    said = {}
    for title, policy in POLICIES.items():
        given = counted(name, policy)
        seen = assess(given, policy)
        explained = asdict(explain(given, policy, seen))
        explained["weights"] = [each["weight_bp"] for each in explained["weights"]]
        said[title] = {
            "assessment": _shown(seen),
            "outlook": _OUTLOOK.dump_python(outlook(given, policy, seen), mode="json"),
            "explanation": TypeAdapter(Any).dump_python(explained, mode="json"),
        }
    return said
