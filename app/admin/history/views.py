"""Decisions, the audit and counts over time as the admin API shows them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from app.admin.fields import WeightBp, shown_weights
from app.admin.view import View
from app.domain.evidence.tally import Counter, Outcome, Tally
from app.domain.stats import latency_histogram
from app.queries.history import CountsOverTime, Live
from app.queries.stored import Decision, Slot

QUANTILES = (0.5, 0.95, 0.99)


class DecisionView(View):
    """A decision: by whom and why, with the figures behind it."""

    id: str
    model: str
    rollout_id: str | None
    at: datetime
    action: str
    actor: str
    trigger: str
    reason: str | None
    sentence: str
    generation_before: int
    generation_after: int
    weights_before_bp: dict[str, WeightBp]
    weights_after_bp: dict[str, WeightBp]
    evidence: dict[str, object]

    @classmethod
    def of_decision(cls, decision: Decision) -> "DecisionView":
        return cls(
            id=decision.id,
            model=decision.model,
            rollout_id=decision.rollout_id,
            at=decision.at,
            action=decision.action,
            actor=decision.actor,
            trigger=decision.trigger,
            reason=decision.reason,
            sentence=decision.sentence,
            generation_before=decision.generation_before,
            generation_after=decision.generation_after,
            weights_before_bp=shown_weights(decision.weights_before),
            weights_after_bp=shown_weights(decision.weights_after),
            evidence=dict(decision.evidence),
        )


class LiveView(View):
    """Which versions were live at a time, and the decision that made it so."""

    model: str
    at: datetime
    generation: int
    since: datetime
    stable: str
    weights_bp: dict[str, WeightBp]
    decision: DecisionView | None

    @classmethod
    def of_live(cls, live: Live) -> "LiveView":
        then, decision = live.generation, live.decision
        return cls(
            model=then.model,
            at=live.at,
            generation=then.generation,
            since=then.at,
            stable=then.stable,
            weights_bp=shown_weights(then.weights_bp),
            decision=None if decision is None else DecisionView.of_decision(decision),
        )


class SlotView(View):
    """One version's counts in one step of time; latencies are null where nothing was answered."""

    version: str
    start: datetime
    end: datetime
    exchanges: int
    outcomes: dict[Outcome, int]
    excluded: int
    counters: Annotated[dict[Counter, int], Field(description="What else was counted; absent is 0.")]
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    latency_ms_p99: float | None

    @classmethod
    def of_slot(cls, slot: Slot) -> "SlotView":
        tally = slot.tally
        p50, p95, p99 = quantiles_ms(tally)
        return cls(
            version=slot.version,
            start=datetime.fromtimestamp(slot.start, UTC),
            end=datetime.fromtimestamp(slot.end, UTC),
            exchanges=tally.exchanges,
            outcomes=dict(tally.outcomes),
            excluded=tally.excluded,
            counters=dict(tally.counters),
            latency_ms_p50=p50,
            latency_ms_p95=p95,
            latency_ms_p99=p99,
        )


class MetricsView(View):
    """Per-version counts over a time range."""

    model: str
    since: datetime
    until: datetime
    step_s: int | None
    items: list[SlotView]

    @classmethod
    def of_counts(cls, model: str, counts: CountsOverTime, step_s: int | None) -> "MetricsView":
        items = [SlotView.of_slot(slot) for slot in counts.slots]
        return cls(model=model, since=counts.since, until=counts.until, step_s=step_s, items=items)


def quantiles_ms(tally: Tally) -> tuple[float | None, float | None, float | None]:
    """The latencies at QUANTILES; None where nothing was answered."""
    p50, p95, p99 = (_quantile_ms(tally, level) for level in QUANTILES)
    return p50, p95, p99


def _quantile_ms(tally: Tally, level: float) -> float | None:
    found = latency_histogram.quantile_bin(tally.latency_bins, level)
    return None if found is None else round(latency_histogram.edge_us(found + 1) / 1_000, 3)
