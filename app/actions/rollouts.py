"""Rollouts: started and ordered by people, moved by the engine."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

from app.actions.baseline import model_evidence
from app.actions.context import ENGINE, Means
from app.actions.decision_writer import SALT_BYTES, Account, checked_reason, expect_answer, horizon_ms, record, settled
from app.actions.engine_version import ENGINE_VERSION
from app.actions.ids import uuid7
from app.actions.recalls import call_back, was_exposed
from app.domain.catalog.models import ModelName, Protocol, Version, VersionName
from app.domain.catalog.offline import refusal
from app.domain.catalog.policy import Policy
from app.domain.catalog.routing import FULL_BP, Route, without_own_mirror
from app.domain.evidence.tally import Tally
from app.domain.guardrails.finding import Cause
from app.domain.guardrails.policy import check_policy, completed
from app.domain.rollout.evaluation import Sight
from app.domain.rollout.replay import weights_after
from app.domain.rollout.rollout import (
    TERMINAL,
    Action,
    Decayed,
    Event,
    MakeStable,
    Phase,
    PromotionOrdered,
    Resumed,
    Rollout,
    RolloutId,
    ShiftWeight,
    Started,
    Transition,
    begin,
)
from app.domain.rollout.transitions import advance
from app.domain.standby.monitor import EndedBy, WatchStep, begun
from app.errors import IllegalTransition, InvalidInput, RolloutRefused, StaleGeneration, UnknownVersion
from app.store.evidence import tallies
from app.store.pg.database import Transaction
from app.store.rollouts import rollouts, standbys
from app.store.rollouts.decisions import Decision
from app.store.rollouts.rollouts import Seen
from app.store.rollouts.standbys import Watched
from app.store.routing import catalog, routes

REFERENCE = timedelta(hours=1)
"""How far back stable's own history is read for what is usual."""

# With many busy replicas the last minutes say as much, and a start must not take seconds.
REFERENCE_ROWS_MAX = 2_000
ATTEMPTS_MAX = 20
NOTHING: Mapping[str, object] = MappingProxyType({})


async def start_rollout(
    means: Means, model: ModelName, canary: VersionName, policy: Policy, *, actor: str, reason: str
) -> tuple[Rollout, Decision]:
    """Begin a rollout of `canary` against the model's stable, which takes all traffic until the warm-up is over.

    Raises: UnknownModel, UnknownVersion, RolloutActive, InvalidInput (canary is stable, blank reason),
        RolloutRefused (its offline evaluation), TargetUnhealthy (a stable that does not answer is no way
        back), StaleGeneration.
    """
    why = checked_reason(reason)
    check_policy(policy)
    async with means.database.transaction() as tx:
        before = await _startable(tx, model, canary)
        stable = await _probed(tx, model, before.stable)
    await expect_answer(means, *stable)
    started: list[Rollout] = []

    async def change(tx: Transaction) -> Decision:
        rollout, decision = await _start(means, tx, await _startable(tx, model, canary), canary, policy, actor, why)
        started[:] = [rollout]
        return decision

    decision = await settled(means, change)
    return started[0], decision


async def order(
    means: Means, rollout_id: RolloutId, event: Event, *, actor: str, reason: str, force: bool = False
) -> Decision:
    """Let a person's event happen: Paused, Resumed, PromotionOrdered, RollbackOrdered or Aborted.

    Args:
        force: Shift traffic even to a version that does not answer its probe.

    Raises: UnknownRollout, IllegalTransition, InvalidInput, TargetUnhealthy, StaleGeneration (a promotion
        or a resumption only: everything that holds or lowers the canary reads again and goes on).
    """
    why = checked_reason(reason)
    attempts_max = 1 if isinstance(event, PromotionOrdered | Resumed) else ATTEMPTS_MAX
    for _ in range(attempts_max - 1):
        try:
            return await _order_once(means, rollout_id, event, actor, why, force)
        except StaleGeneration:
            continue
    return await _order_once(means, rollout_id, event, actor, why, force)


async def record_assessment(
    means: Means, tx: Transaction, seen: Seen, sight: Sight, transition: Transition
) -> Decision | None:
    """Save what the engine made of a rollout, in the tick's own transaction; None if nothing was decided.

    Args:
        sight: What the transition was made from; stored with a decision, so that it can be made again.

    Raises: StaleGeneration (a person was quicker: drop the tick), TargetUnhealthy (traffic would go to a
        version that does not answer: nothing is saved, the weights stay, the next tick tries again).
    """
    if transition.resolution is None:
        await _save_quietly(tx, seen, transition.rollout)
        return None
    target = await _target(tx, seen.rollout, transition)
    if target is not None:
        await expect_answer(means, *target)
    return await _decide(means, tx, seen, transition, ENGINE, None, {"sight": sight})


async def record_decay(means: Means, tx: Transaction, watched: Watched, step: WatchStep) -> Decision:
    """Make the standby stable again, in the look's own transaction.

    Raises: StaleGeneration (somebody was quicker), TargetUnhealthy (the standby does not answer: nothing
        is saved, the weights stay, the next look tries again).
    """
    seen = await rollouts.rollout(tx, watched.watch.rollout_id)
    if seen.generation != watched.generation:
        raise StaleGeneration(watched.watch.model, watched.generation)
    transition = advance(seen.rollout, Decayed(step.sentence, step.numbers), watched.at)
    target = await _target(tx, seen.rollout, transition)
    if target is not None:
        await expect_answer(means, *target)
    return await _decide(means, tx, replace(seen, at=watched.at), transition, ENGINE, None, {"watch": step.watch})


async def _startable(tx: Transaction, model: ModelName, canary: VersionName) -> Route:
    """The route a rollout can begin from."""
    await catalog.version(tx, model, canary)
    route = await routes.route(tx, model)
    if route is None:
        raise UnknownVersion(model, canary)
    if route.stable == canary:
        raise InvalidInput("/canary", f"{canary!r} is stable already")
    return route


async def _start(
    means: Means, tx: Transaction, before: Route, canary: VersionName, policy: Policy, actor: str, reason: str
) -> tuple[Rollout, Decision]:
    at = (await routes.revision(tx)).at
    reference = await reference_of(tx, before.model, before.stable, int(at.timestamp()))
    rollout_id = RolloutId(uuid7(at, means.entropy(8)))
    model = await catalog.model(tx, before.model)
    policy = completed(policy, model)
    incumbent, challenger = [await catalog.version(tx, before.model, name) for name in (before.stable, canary)]
    why = refusal(policy.offline, challenger, incumbent)
    if why is not None:
        raise RolloutRefused(why)
    pending = begin(
        rollout_id,
        before.model,
        before.stable,
        canary,
        policy,
        reference,
        at,
        per_caller=model.is_sticky,
        reference_s=REFERENCE.total_seconds(),
    )
    of_model = await model_evidence(
        tx,
        model,
        incumbent,
        challenger,
        int(at.timestamp()),
        int(REFERENCE.total_seconds()),
    )
    pending = replace(pending, evidence=replace(pending.evidence, of_model=of_model))
    transition = advance(pending, Started(), at)
    generation = before.generation + 1
    await rollouts.add(tx, transition.rollout, generation)
    # Nobody is on the canary yet, so the fresh salt moves no caller back from it.
    after = replace(
        await _routed(tx, before, transition),
        weights_bp={before.stable: FULL_BP},
        salt=means.entropy(SALT_BYTES),
        salted_at=generation,
    )
    account = _account(pending, transition, actor, reason, {"begun": pending})
    decision = await record(means, tx, before, after, at, account)
    await standbys.end(tx, before.model, EndedBy.ROLLOUT, at)
    return transition.rollout, decision


async def reference_of(tx: Transaction, model: ModelName, stable: VersionName, start: int) -> Tally:
    """What is usual for stable: its tally of the time before the Unix second `start`."""
    since = start - int(REFERENCE.total_seconds())
    return await tallies.history(tx, model, stable, since, start, rows_max=REFERENCE_ROWS_MAX)


async def _order_once(
    means: Means, rollout_id: RolloutId, event: Event, actor: str, reason: str, force: bool
) -> Decision:
    async with means.database.transaction() as tx:
        seen = await _orderable(tx, rollout_id)
        target = await _target(tx, seen.rollout, advance(seen.rollout, event, seen.at))
    # Nothing waits for a model server while a transaction is open.
    if target is not None and not force:
        await expect_answer(means, *target)

    async def change(tx: Transaction) -> Decision:
        again = await _orderable(tx, rollout_id)
        if again.generation != seen.generation:
            raise StaleGeneration(again.rollout.model, seen.generation)
        return await _decide(means, tx, again, advance(again.rollout, event, again.at), actor, reason)

    return await settled(means, change)


async def _orderable(tx: Transaction, rollout_id: RolloutId) -> Seen:
    """A rollout that may still move its model's route: a promoted one only until something newer happened."""
    seen = await rollouts.rollout(tx, rollout_id)
    if seen.rollout.phase is Phase.PROMOTED:
        route = await _route(tx, seen.rollout.model)
        latest = await rollouts.latest(tx, seen.rollout.model)
        if route.stable != seen.rollout.canary or latest is None or latest.id != rollout_id:
            raise IllegalTransition("superseded", "RollbackOrdered")
    return seen


async def _target(tx: Transaction, before: Rollout, transition: Transition) -> tuple[Protocol, Version] | None:
    """The version that all traffic would go to though it does not have it all now, and what it speaks."""
    for effect in transition.effects:
        match effect:
            case MakeStable(version):
                return await _probed(tx, before.model, version)
            case ShiftWeight(0) if before.weight_bp > 0:
                return await _probed(tx, before.model, before.stable)
            case ShiftWeight():
                pass
    return None


async def _probed(tx: Transaction, model: ModelName, version: VersionName) -> tuple[Protocol, Version]:
    """What a probe must know."""
    return (await catalog.model(tx, model)).protocol, await catalog.version(tx, model, version)


async def _decide(
    means: Means,
    tx: Transaction,
    seen: Seen,
    transition: Transition,
    actor: str,
    reason: str | None,
    made_from: Mapping[str, object] = NOTHING,
) -> Decision:
    before = await _route(tx, seen.rollout.model)
    if before.generation != seen.generation:
        raise StaleGeneration(before.model, seen.generation)
    after = await _routed(tx, before, transition)
    # The rollout's row first, as a quiet save does: two transactions that lock in one order never deadlock.
    await rollouts.save(tx, transition.rollout, seen=seen.generation, generation=after.generation)
    account = _account(seen.rollout, transition, actor, reason, made_from)
    if before.mirror is not None and after.mirror is None:
        account = _with_ended_mirror(account)
    decision = await record(means, tx, before, after, seen.at, account)
    await _turn_watch(tx, transition, decision)
    if decision.action == Action.ROLL_BACK and transition.effects and was_exposed(seen.rollout):
        await call_back(means, tx, seen.rollout, decision, seen.started_generation)
    return decision


async def _turn_watch(tx: Transaction, transition: Transition, decision: Decision) -> None:
    """Begin to watch a promoted version beside its standby, or end that with its rollback."""
    for effect in transition.effects:
        match effect:
            case MakeStable(_, 0):
                by = EndedBy.DECAY if decision.trigger == Cause.DECAY else EndedBy.ROLLBACK
                await standbys.end(tx, decision.model, by, decision.at)
            case MakeStable(_, standby_bp):
                begins = begun(transition.rollout, standby_bp, decision.at)
                await standbys.add(tx, begins, decision.generation_after)
            case ShiftWeight():
                pass


async def _save_quietly(tx: Transaction, seen: Seen, rollout: Rollout) -> None:
    """Save evidence; replicas hear of it only when the latency horizon became known."""
    await rollouts.save(tx, rollout, seen=seen.generation, generation=seen.generation)
    horizon = rollout.evidence.latency_horizon_ms
    if horizon is not None and await routes.set_latency_horizon(tx, rollout.model, horizon):
        await routes.announce(tx)


async def _routed(tx: Transaction, before: Route, transition: Transition) -> Route:
    """The route after the transition's effects, one generation on."""
    rollout = transition.rollout
    weights = weights_after(rollout, transition.effects, before.weights_bp)
    after = replace(before, generation=before.generation + 1, weights_bp=weights)
    for effect in transition.effects:
        if isinstance(effect, MakeStable):
            after = without_own_mirror(replace(after, stable=effect.version))
    ended = rollout.phase in TERMINAL
    if ended and not transition.effects:
        return after  # an old rollout was turned back once more; the route belongs to others by now
    arms = [await catalog.version(tx, rollout.model, name) for name in (rollout.stable, rollout.canary)]
    learnt = None if ended else rollout.evidence.latency_horizon_ms
    salted_at = 0 if ended else after.salted_at
    return replace(after, latency_horizon_ms=learnt or horizon_ms(*arms), salted_at=salted_at)


def _account(
    before: Rollout, transition: Transition, actor: str, reason: str | None, made_from: Mapping[str, object]
) -> Account:
    resolution = transition.resolution
    if resolution is None:
        raise ValueError("what changes a route must say why")
    return Account(
        action=resolution.action,
        actor=actor,
        trigger=resolution.trigger,
        reason=reason,
        sentence=resolution.sentence,
        rollout_id=before.id,
        evidence={**evidence_of(before, transition), **made_from, "engine": ENGINE_VERSION},
    )


def _with_ended_mirror(account: Account) -> Account:
    return replace(
        account, sentence=with_ended_mirror(account.sentence), evidence={**account.evidence, "ended_mirror": True}
    )


def with_ended_mirror(sentence: str) -> str:
    """The sentence of a decision that makes a mirrored version stable."""
    return f"{sentence.rstrip('.')}; it gets no more copies."


def evidence_of(before: Rollout, transition: Transition) -> Mapping[str, object]:
    """What a decision stores of its rollout, and what a replay of it must come to."""
    return {
        "stable": before.stable,
        "canary": before.canary,
        "phase_before": before.phase,
        "phase_after": transition.rollout.phase,
        "policy": before.policy,
        "numbers": {} if transition.resolution is None else transition.resolution.numbers,
    }


async def _route(tx: Transaction, model: ModelName) -> Route:
    route = await routes.route(tx, model)
    if route is None:
        raise StaleGeneration(model, 0)
    return route
