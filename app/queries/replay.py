"""Replays stored decisions: from their own row, and from the tallies their counts were summed from.

Rule: nothing is guessed. A decision that was stored without its inputs is not replayed, and says so.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from app.actions.context import ENGINE, Means
from app.actions.decision_writer import RouteAction
from app.actions.engine_version import ENGINE_VERSION
from app.actions.rollouts import evidence_of, with_ended_mirror
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.evidence import Evidence, absorb
from app.domain.evidence.tally import Watermark
from app.domain.guardrails.finding import Cause
from app.domain.rollout.evaluation import Sight, judge
from app.domain.rollout.replay import Difference, differences, weights_after
from app.domain.rollout.rollout import Action, Rollout, Transition
from app.domain.standby.monitor import EndedBy, Watch, WatchStep
from app.domain.standby.monitor import judged as watch_judged
from app.errors import TurnbackError
from app.queries.past_tallies import Past, past_of, rows_between
from app.store.pg import partitions
from app.store.pg.codec import (
    as_json,
    rollout_of_decision,
    sight_of_decision,
    watch_from_json,
)
from app.store.rollouts import decisions
from app.store.rollouts.decisions import Decision, DecisionId

ORDERED = "Nothing to recompute: an order."
WITHOUT_INPUTS = (
    "It was stored without what it was made from, by a version that did not keep it: it cannot be replayed."
)
UNREADABLE = "What it was made from cannot be read by this version: it cannot be replayed."
DAMAGED = "What it was made from cannot be read, and this very engine wrote it: the row was changed since."
OF_WATCH = "The counts of a watch after a promotion are not summed again."
AGREES = "Replayed: what it was made from gives the same decision, to the last bit."
# So many seconds are read at once: neither a statement, nor memory, nor a stop of the loop grows with the rollout.
CHUNK_S = 600


class ReplayOutcome(StrEnum):
    """How a replay ended."""

    AGREES = "agrees"
    DIFFERS = "differs"
    ORDER = "order"  # a person decided: there is nothing to recompute
    NOT_REPLAYABLE = "not_replayable"  # the row lacks what it was made from


@dataclass(frozen=True, slots=True)
class Resummed:
    """What the tallies say of the counts a decision was made from; `agrees` is None when they cannot say."""

    agrees: bool | None
    sentence: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a decision that was made again.

    Attributes:
        decided_with: The engine that decided, None when the row does not say.
        recomputed: What came out, in the shape the decision is stored in; None when nothing was replayed.
        from_rows: None unless it was asked for.
    """

    decision: Decision
    outcome: ReplayOutcome
    sentence: str
    decided_with: str | None
    replayed_with: str = ENGINE_VERSION
    recomputed: Mapping[str, object] | None = None
    differences: tuple[Difference, ...] = ()
    from_rows: Resummed | None = None


async def replay(means: Means, decision_id: DecisionId, *, from_rows: bool = False) -> Replayed:
    """Make a decision again and compare.

    Args:
        from_rows: Sum its counts from the tallies too, if they are still kept.

    Raises: UnknownDecision.
    """
    async with means.database.transaction() as tx:
        decision = await decisions.decision(tx, decision_id)
    engine = decision.evidence.get("engine")
    decided_with = engine if isinstance(engine, str) else None
    if decision.actor != ENGINE:
        return Replayed(decision, ReplayOutcome.ORDER, ORDERED, decided_with)
    if not {"sight", "watch"} & decision.evidence.keys():
        return Replayed(decision, ReplayOutcome.NOT_REPLAYABLE, WITHOUT_INPUTS, decided_with)
    try:
        judged, recomputed = _made_again(decision)
    except (ValidationError, TurnbackError, ArithmeticError, ValueError):
        return _unreadable(decision, decided_with)
    found = tuple(differences(_stored(decision, recomputed), recomputed))
    resummed = await _resummed(means, judged) if from_rows else None
    outcome = ReplayOutcome.DIFFERS if found else ReplayOutcome.AGREES
    sentence = _differs(found, decided_with) if found else AGREES
    return Replayed(decision, outcome, sentence, decided_with, ENGINE_VERSION, recomputed, found, resummed)


def _unreadable(decision: Decision, decided_with: str | None) -> Replayed:
    """Only another engine may have written what this one cannot read."""
    if decided_with == ENGINE_VERSION:
        return Replayed(decision, ReplayOutcome.DIFFERS, DAMAGED, decided_with)
    return Replayed(decision, ReplayOutcome.NOT_REPLAYABLE, UNREADABLE, decided_with)


def _made_again(decision: Decision) -> tuple[Rollout | None, Mapping[str, Any]]:
    """The rollout that was judged, None if it was a watch over one, and what comes out."""
    if "watch" in decision.evidence:
        watch = watch_from_json(json.dumps(decision.evidence["watch"]))
        return None, _of_watch(watch, watch_judged(watch, decision.at))
    sight = sight_of_decision(decision.evidence["sight"])
    return sight.rollout, _recomputed(decision, sight)


def _of_watch(watch: Watch, step: WatchStep) -> Mapping[str, Any]:
    actions = {EndedBy.DECAY: (Action.ROLL_BACK, Cause.DECAY), EndedBy.TIME: (RouteAction.END_WATCH, Cause.POLICY)}
    action, trigger = (None, None) if step.ended_by is None else actions[step.ended_by]
    document: Mapping[str, Any] = as_json(
        {
            "action": action,
            "trigger": trigger,
            "sentence": step.sentence,
            "weights_after_bp": {watch.standby if step.ended_by is EndedBy.DECAY else watch.stable: FULL_BP},
            "numbers": {"watch": step.numbers},
        }
    )
    return document


def _recomputed(decision: Decision, sight: Sight) -> Mapping[str, Any]:
    """The decision as this engine makes it from the same sight at the same time, JSON values."""
    transition = judge(sight, decision.at).transition
    made = transition.resolution
    weights = weights_after(sight.rollout, transition.effects, decision.weights_before)
    document: Mapping[str, Any] = as_json(
        {
            "action": None if made is None else made.action,
            "trigger": None if made is None else str(made.trigger),
            "sentence": _sentence(transition, decision),
            "weights_after_bp": weights,
            **evidence_of(sight.rollout, transition),
        }
    )
    return document


def _sentence(transition: Transition, decision: Decision) -> str | None:
    if transition.resolution is None:
        return None
    sentence = transition.resolution.sentence
    return with_ended_mirror(sentence) if decision.evidence.get("ended_mirror") is True else sentence


def _stored(decision: Decision, recomputed: Mapping[str, object]) -> Mapping[str, object]:
    """The same members as the row has them."""
    columns = {
        "action": decision.action,
        "trigger": decision.trigger,
        "sentence": decision.sentence,
        "weights_after_bp": dict(decision.weights_after),
    }
    stored = {name: columns[name] if name in columns else decision.evidence.get(name) for name in recomputed}
    if "watch" in decision.evidence:
        # Beside the watch's figures stand those of its rollout, which had been judged before.
        numbers = decision.evidence.get("numbers")
        stored["numbers"] = {"watch": numbers.get("watch") if isinstance(numbers, Mapping) else None}
    return stored


def _differs(found: tuple[Difference, ...], decided_with: str | None) -> str:
    values = "1 value does" if len(found) == 1 else f"{len(found)} values do"
    first = found[0]
    sentence = (
        f"Replayed: {values} not come out as stored, the first {first.name}: "
        f"stored {first.stored!r}, recomputed {first.recomputed!r}."
    )
    if decided_with == ENGINE_VERSION:
        return f"{sentence} The engine is the same: the row is not what it wrote."
    return f"{sentence} The engine is another one than the one that decided."


async def _resummed(means: Means, judged: Rollout | None) -> Resummed:
    """Absorb all rows again, from the rollout's start to where the decision had read."""
    if judged is None:
        return Resummed(None, OF_WATCH)
    async with means.database.transaction() as tx:
        past = await past_of(tx, judged)
        start = await decisions.of_generation(tx, judged.model, past.started_generation)
        oldest = await partitions.oldest_second(tx)
    begun = None if start is None else start.evidence.get("begun")
    if begun is None:
        return Resummed(
            None, "The rollout's start was stored without its reference: its counts cannot be summed again."
        )
    if judged.evidence.started_s < oldest:
        return Resummed(None, "The tallies of its first seconds are no longer kept: its counts cannot be summed again.")
    evidence = rollout_of_decision(begun).evidence
    for after in range(judged.evidence.started_s - 1, past.last_s, CHUNK_S):
        evidence = await _absorbed(means, past, evidence, after)
    # Labels and what was read of answers are taken as the decision kept them: only tallies are counts of everything.
    evidence = replace(evidence, of_model=judged.evidence.of_model)
    found = tuple(differences(as_json(judged.evidence), as_json(evidence)))
    return Resummed(not found, _rows_say(found), found)


async def _absorbed(means: Means, past: Past, evidence: Evidence, after: int) -> Evidence:
    """The evidence with one more stretch of rows."""
    through = min(after + CHUNK_S, past.last_s)
    async with means.database.transaction() as tx:
        read = await rows_between(tx, past, after, through)
    mature = Watermark(min(through, past.final.status), min(through, past.final.latency))
    # Not in the loop that serves: so many rows take as long as many looks.
    return await asyncio.to_thread(absorb, evidence, read.rows, past.weights_bp, mature, read.exposed)


def _rows_say(found: tuple[Difference, ...]) -> str:
    if not found:
        return "Summed again from the tallies: the same counts, one by one."
    first = found[0]
    return (
        f"Summed again from the tallies: {len(found)} values are others, the first {first.name}: stored "
        f"{first.stored!r}, summed {first.recomputed!r}. Rows of a replica that had fallen silent, and wrote them "
        "only after the decision, would be seen here too."
    )
