"""Every decision of the engine can be made again from its row, and an edited row cannot hide."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from actions.judged import FRAUD, V1, V2, JudgedRollout, StickyRollout
from sqlalchemy import text

from app.actions.context import ENGINE, Means
from app.actions.models import register_model, register_version
from app.actions.rollouts import order
from app.domain.catalog.models import Model, Version
from app.domain.catalog.policy import OnDeadline, OnRegression
from app.domain.evidence.tally import Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.rollout.rollout import Paused, Phase
from app.queries.replay import ORDERED, Replayed, ReplayOutcome, replay
from app.store.evidence import tallies
from app.store.pg import partitions
from app.store.rollouts.decisions import Decision
from app.store.routing import replicas

ERRORS_ONLY = replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=(guardrail("errors"),), max_extra_bad=1_000.0)
THRIFTY = replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=(guardrail("errors"),))
WHOLE = replace(
    DEFAULT_POLICY,
    warmup_s=0.0,
    max_extra_bad=1_000.0,
    guardrails=(*EVERY_MODEL, guardrail("latency", dry_run=True, margin=0.1)),
)


async def promoted(means: Means) -> JudgedRollout:
    """All guardrails, and thresholds that freeze only while the rollout runs."""
    judged = await JudgedRollout.begun(means, WHOLE)
    await judged.play_until(Phase.PROMOTED, exchanges=4_000)
    return judged


async def turned_back(means: Means) -> JudgedRollout:
    judged = await JudgedRollout.begun(means, ERRORS_ONLY)
    await judged.play_until(Phase.ROLLED_BACK, exchanges=2_000, canary_bad=1.0)
    return judged


async def frozen_and_thawed(means: Means) -> JudgedRollout:
    judged = await JudgedRollout.begun(means, ERRORS_ONLY)
    await judged.play(10, exchanges=1_000)
    await judged.play_until(Phase.FROZEN, exchanges=1_000, canary_bad=0.025)
    await judged.play_until(Phase.RAMPING, exchanges=40_000, canary_bad=0.0)
    return judged


async def stepped_down(means: Means) -> JudgedRollout:
    """Ten thousand times the traffic, and of the canary nothing is known: the budget admits less than it has."""
    await JudgedRollout.usual(means)
    judged = await JudgedRollout.begun(means, THRIFTY)
    await judged.play(10, exchanges=10, canary_left=1.0)
    await judged.play(3, exchanges=100_000, canary_left=1.0)
    return judged


async def invalidated_and_given_up(means: Means) -> JudgedRollout:
    judged = await JudgedRollout.begun(means, ERRORS_ONLY)
    await judged.play(10, exchanges=2_000)
    await judged.play_until(Phase.INVALID, exchanges=2_000, canary_share=0.0)
    await judged.look(later_s=2 * 86_400.0)
    return judged


async def expired_and_given_up(means: Means) -> JudgedRollout:
    judged = await JudgedRollout.begun(means, ERRORS_ONLY)
    await judged.play(2, exchanges=100)
    await judged.look(later_s=8 * 86_400.0)
    await judged.look(later_s=10 * 86_400.0)
    return judged


async def braked(means: Means) -> JudgedRollout:
    judged = await JudgedRollout.begun(means, ERRORS_ONLY)
    await judged.look()
    await judged.look(braked=True)
    await judged.look(later_s=1.0)
    await judged.look(later_s=2.0, braked=True)
    await judged.look(later_s=30.0, braked=True)
    return judged


async def held_by_the_ceiling(means: Means) -> JudgedRollout:
    """Both arms answer as badly, so nothing is turned back."""
    judged = await JudgedRollout.begun(means, replace(ERRORS_ONLY, error_ceiling=0.05))
    await judged.play(9, exchanges=2_000)
    await judged.play_until(Phase.FROZEN, exchanges=2_000, stable_bad=0.2, canary_bad=0.2)
    return judged


async def held_by_what_both_share(means: Means) -> JudgedRollout:
    await JudgedRollout.usual(means)
    judged = await JudgedRollout.begun(means, ERRORS_ONLY)
    await judged.play(9, exchanges=2_000)
    await judged.play_until(Phase.FROZEN, exchanges=2_000, stable_bad=0.3, canary_bad=0.3)
    return judged


async def held_by_its_guardrail(means: Means) -> JudgedRollout:
    holds = guardrail("errors", on_regression=OnRegression.HOLD)
    judged = await JudgedRollout.begun(means, replace(ERRORS_ONLY, guardrails=(holds,)))
    await judged.play_until(Phase.FROZEN, exchanges=2_000, canary_bad=1.0)
    return judged


async def promoted_at_the_deadline(means: Means) -> JudgedRollout:
    lenient = replace(ERRORS_ONLY, on_deadline=OnDeadline.PROMOTE_IF_BELOW, deadline_margin=0.5, alpha_promotion=1e-6)
    judged = await JudgedRollout.begun(means, lenient)
    await judged.play(12, exchanges=2_000)
    await judged.look(later_s=8 * 86_400.0)
    return judged


Walk = Callable[[Means], Awaitable[JudgedRollout]]
WALKS: dict[Walk, set[tuple[str, str]]] = {
    promoted: {("advance", "policy"), ("promote", "policy")},
    turned_back: {("advance", "policy"), ("roll_back", "errors")},
    frozen_and_thawed: {("advance", "policy"), ("freeze", "errors"), ("thaw", "policy")},
    stepped_down: {("advance", "policy"), ("step_down", "policy")},
    invalidated_and_given_up: {("advance", "policy"), ("invalidate", "split"), ("roll_back", "deadline")},
    expired_and_given_up: {("advance", "policy"), ("expire", "deadline"), ("roll_back", "deadline")},
    held_by_the_ceiling: {("advance", "policy"), ("freeze", "ceiling")},
    held_by_what_both_share: {("advance", "policy"), ("freeze", "external")},
    held_by_its_guardrail: {("advance", "policy"), ("freeze", "errors")},
    promoted_at_the_deadline: {("advance", "policy"), ("promote", "deadline")},
    braked: {("advance", "policy"), ("freeze", "brake"), ("thaw", "brake"), ("roll_back", "brake")},
}


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
async def test_every_decision_of_the_engine_is_made_again_to_the_last_bit(fraud: Means, walk: Walk) -> None:
    judged = await walk(fraud)
    by_engine = [decision for decision in judged.decisions if decision.actor == ENGINE]
    assert {(decision.action, decision.trigger) for decision in by_engine} >= WALKS[walk]
    for decision in by_engine:
        again = await replay(fraud, decision.id, from_rows=True)
        assert (again.outcome, again.differences) == (ReplayOutcome.AGREES, ())
        assert again.decided_with == again.replayed_with
        assert again.from_rows is not None
        assert (again.from_rows.agrees, again.from_rows.differences) == (True, ())


async def test_a_decision_on_first_exchanges_of_callers_is_summed_from_them(means: Means) -> None:
    await register_model(means, Model(FRAUD, sticky_header="x-caller"), actor="ann")
    for name in (V1, V2):
        await register_version(means, Version(FRAUD, name, ("http://127.0.0.1:9001",)), actor="ann")
    judged = await StickyRollout.begun(means, ERRORS_ONLY)
    await judged.play_until(Phase.ROLLED_BACK, exchanges=1_000)
    again = await replay(means, judged.last.id, from_rows=True)
    assert judged.rollout.evidence.per_caller
    assert again.outcome is ReplayOutcome.AGREES
    assert again.from_rows is not None
    assert (again.from_rows.agrees, again.from_rows.differences) == (True, ())


async def edited(means: Means, decision: Decision, path: str, value: object) -> Replayed:
    """What a replay says after somebody changed one value in the row."""
    statement = text("UPDATE decisions SET evidence = jsonb_set(evidence, :path, CAST(:value AS jsonb)) WHERE id = :id")
    given = {"path": f"{{{path}}}", "value": json.dumps(value), "id": decision.id}
    async with means.database.transaction() as tx:
        await tx.execute(statement, given)
    return await replay(means, decision.id, from_rows=True)


@pytest.mark.parametrize(
    ("path", "value", "difference"),
    [
        ("numbers,log_e", 99.0, "/numbers/log_e"),
        ("numbers,findings,0,canary_rate", 0.5, "/numbers/findings/0/canary_rate"),
        ("numbers,epochs,0,canary,errors", 1, "/numbers/epochs/0/canary/errors"),
        ("sight,rollout,evidence,error_reference", 0.4, "/numbers/error_reference"),
        ("sight,rollout,policy,alpha_rollback", 0.02, "/policy/alpha_rollback"),
        ("phase_after", "promoted", "/phase_after"),
    ],
)
async def test_an_edited_number_does_not_come_out_as_it_stands(
    fraud: Means, path: str, value: object, difference: str
) -> None:
    again = await edited(fraud, (await turned_back(fraud)).last, path, value)
    assert again.outcome is ReplayOutcome.DIFFERS
    assert difference in {each.name for each in again.differences}
    assert "The engine is the same" in again.sentence


async def test_a_count_changed_together_with_all_that_follows_is_still_not_what_the_tallies_say(fraud: Means) -> None:
    decision = (await turned_back(fraud)).last
    judged: Any = decision.evidence["sight"]
    weight_bp, epoch = next(iter(judged["rollout"]["evidence"]["by_weight"].items()))
    count = f"{weight_bp},stable,drawn"
    again = await edited(fraud, decision, f"sight,rollout,evidence,by_weight,{count}", epoch["stable"]["drawn"] + 1)
    assert again.recomputed is not None
    forged = await edited(fraud, decision, "numbers", again.recomputed["numbers"])
    assert forged.outcome is ReplayOutcome.AGREES
    assert forged.from_rows is not None
    assert [each.name for each in forged.from_rows.differences] == [f"/by_weight/{weight_bp}/stable/drawn"]


async def test_a_sentence_changed_by_hand_is_found(fraud: Means) -> None:
    decision = (await turned_back(fraud)).last
    async with fraud.database.transaction() as tx:
        await tx.execute(text("UPDATE decisions SET sentence = 'It was fine.' WHERE id = :id"), {"id": decision.id})
    assert [each.name for each in (await replay(fraud, decision.id)).differences] == ["/sentence"]


async def test_a_row_whose_inputs_cannot_be_read_was_changed_if_this_engine_wrote_it(fraud: Means) -> None:
    decision = (await turned_back(fraud)).last
    assert (await edited(fraud, decision, "sight,rollout,phase", "asleep")).outcome is ReplayOutcome.DIFFERS
    again = await edited(fraud, decision, "engine", "0.0.1+before")
    assert again.outcome is ReplayOutcome.NOT_REPLAYABLE


async def test_another_engine_is_named_when_its_decision_comes_out_otherwise(fraud: Means) -> None:
    decision = (await turned_back(fraud)).last
    await edited(fraud, decision, "engine", "0.0.1+before")
    again = await edited(fraud, decision, "numbers,log_e", 99.0)
    assert (again.outcome, again.decided_with) == (ReplayOutcome.DIFFERS, "0.0.1+before")
    assert "another one than the one that decided" in again.sentence


async def test_an_order_is_nothing_to_recompute(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, ERRORS_ONLY)
    paused = await order(fraud, judged.rollout.id, Paused(), actor="ann", reason="a test")
    for decision in (judged.last, paused):
        again = await replay(fraud, decision.id, from_rows=True)
        assert (again.outcome, again.sentence, again.recomputed) == (ReplayOutcome.ORDER, ORDERED, None)


async def test_a_decision_of_an_older_version_is_not_guessed_at(fraud: Means) -> None:
    decision = (await turned_back(fraud)).last
    async with fraud.database.transaction() as tx:
        await tx.execute(text("UPDATE decisions SET evidence = evidence - 'sight' - 'engine'"))
    again = await replay(fraud, decision.id)
    assert (again.outcome, again.decided_with) == (ReplayOutcome.NOT_REPLAYABLE, None)


async def test_rows_that_came_after_the_decision_are_seen_in_its_tallies(fraud: Means) -> None:
    judged = await turned_back(fraud)
    generation = judged.last.generation_before
    late = TallyRow(TallyKey(judged.second - 1, FRAUD, generation, V1), Tally(exchanges=7), 1)
    async with fraud.database.transaction() as tx:
        await tallies.upsert(tx, "1" * 32, [late])
        await replicas.beat(tx, "1" * 32, "proxy", Watermark(judged.second, judged.second), 0, ())
    again = await replay(fraud, judged.last.id, from_rows=True)
    assert again.outcome is ReplayOutcome.AGREES
    assert again.from_rows is not None
    assert again.from_rows.agrees is False
    assert "fallen silent" in again.from_rows.sentence


async def test_tallies_that_are_no_longer_kept_are_not_summed(fraud: Means) -> None:
    decision = (await turned_back(fraud)).last
    async with fraud.database.transaction() as tx:
        await partitions.ensure_partitions(tx)
        await partitions.drop_partitions(tx, keep_days=-1)
    again = await replay(fraud, decision.id, from_rows=True)
    assert again.from_rows is not None
    assert (again.outcome, again.from_rows.agrees) == (ReplayOutcome.AGREES, None)
