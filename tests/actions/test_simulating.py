"""Stored rollouts judged again under another policy, from what Postgres still has of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from actions.judged import FRAUD, V1, V2, JudgedRollout, StickyRollout
from sqlalchemy import text

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.actions.rollouts import order
from app.domain.catalog.models import Model, ModelName, Version
from app.domain.catalog.policy import Policy
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase, RollbackOrdered
from app.domain.rollout.simulation import Fate
from app.errors import UnknownModel
from app.queries import simulation
from app.queries.simulation import NOT_KEPT, Retold, simulate
from app.store.pg import partitions

HAD = replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=(guardrail("errors"),), max_extra_bad=1_000.0)
WEEK = timedelta(days=7)


async def retold(means: Means, policy: Policy) -> Retold:
    (only,) = (await simulate(means, FRAUD, policy, WEEK)).retold
    return only


async def test_the_policy_it_had_turns_a_bad_canary_back_again(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, HAD)
    await judged.play_until(Phase.ROLLED_BACK, exchanges=2_000, canary_bad=1.0)
    again = await retold(fraud, HAD)
    assert again.retrial is not None
    assert (again.was.fate, again.retrial.ending.fate) == (Fate.ROLLED_BACK, Fate.ROLLED_BACK)
    assert again.retrial.ending.canary_answers == again.was.canary_answers
    numbers: Any = judged.last.evidence["numbers"]
    assert again.retrial.seen.log_e == numbers["log_e"]
    assert again.last is not None
    assert again.last.id == judged.last.id
    assert "would have been turned back at" in again.sentence


async def test_callers_that_stick_are_judged_again_by_their_first_exchanges(means: Means) -> None:
    await register_model(means, Model(FRAUD, sticky_header="x-caller"), actor="ann")
    for name in (V1, V2):
        await register_version(means, Version(FRAUD, name, ("http://127.0.0.1:9001",)), actor="ann")
    judged = await StickyRollout.begun(means, HAD)
    await judged.play_until(Phase.ROLLED_BACK, exchanges=1_000)
    again = await retold(means, HAD)
    assert again.retrial is not None
    assert again.retrial.ending.fate is Fate.ROLLED_BACK
    assert again.retrial.ending.canary_answers == again.was.canary_answers > 0


async def test_a_policy_that_asks_for_more_proof_leaves_it_undecided_and_says_what_is_not_known(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, HAD)
    await judged.play_until(Phase.PROMOTED, exchanges=4_000)
    again = await retold(fraud, replace(HAD, alpha_promotion=1e-6, max_weight_bp=50))
    assert again.retrial is not None
    assert (again.was.fate, again.retrial.ending.fate) == (Fate.PROMOTED, Fate.UNDECIDED)
    weights, no_data = again.unknown
    assert "another weight than this policy would have given it" in weights
    assert "there is no data: then v2 was promoted" in no_data


async def test_orders_are_left_out_and_said_to_be(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, HAD)
    await judged.play(3, exchanges=1_000)
    await order(fraud, judged.rollout.id, RollbackOrdered(), actor="ann", reason="a test")
    again = await retold(fraud, HAD)
    assert any("Orders by people" in sentence for sentence in again.unknown)


async def test_a_reference_that_is_not_kept_whole_is_said_to_be_less(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, HAD)
    day = judged.second // partitions.DAY_S
    async with fraud.database.transaction() as tx:
        await partitions.ensure_partitions(tx)
        # As if the rollout had begun in the first minute of the oldest day.
        started = f"'{{evidence,started_s}}', to_jsonb({day * partitions.DAY_S + 60})"
        await tx.execute(text(f"UPDATE rollouts SET state = jsonb_set(state, {started})"))  # noqa: S608 -- numbers
    assert any("read from less" in sentence for sentence in (await retold(fraud, HAD)).unknown)


async def test_a_rollout_whose_tallies_are_gone_is_named_and_not_judged(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, HAD)
    await judged.play(3, exchanges=1_000)
    async with fraud.database.transaction() as tx:
        await partitions.ensure_partitions(tx)
        await partitions.drop_partitions(tx, keep_days=-1)
    again = await retold(fraud, HAD)
    assert (again.retrial, again.unknown) == (None, (NOT_KEPT,))


async def test_a_long_rollout_is_looked_at_less_often_and_says_so(
    fraud: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = replace(HAD, alpha_promotion=1e-6)
    judged = await JudgedRollout.begun(fraud, patient)
    await judged.play(23, exchanges=500)
    monkeypatch.setattr(simulation, "LOOKS_MAX", 6)
    monkeypatch.setattr(simulation, "LEAST_LOOKS", 1)
    monkeypatch.setattr(simulation, "CHUNK_S", 9)
    again = await retold(fraud, patient)
    assert again.retrial is not None
    assert again.retrial.looks == 6
    assert again.retrial.ending.canary_answers == again.was.canary_answers > 0
    assert any("Looked every 4 s instead of every second" in sentence for sentence in again.unknown)


async def test_only_rollouts_of_the_time_asked_for_are_judged(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, HAD)
    await judged.play_until(Phase.ROLLED_BACK, exchanges=2_000, canary_bad=1.0)
    async with fraud.database.transaction() as tx:
        aged = "jsonb_set(state, '{started_at}', to_jsonb('2020-01-01T00:00:00Z'::text))"
        await tx.execute(text(f"UPDATE rollouts SET state = {aged}"))  # noqa: S608 -- a constant
    assert (await simulate(fraud, FRAUD, HAD, WEEK)).retold == ()
    with pytest.raises(UnknownModel):
        await simulate(fraud, ModelName("nobody"), HAD, WEEK)


async def test_a_simulation_changes_nothing(fraud: Means) -> None:
    judged = await JudgedRollout.begun(fraud, HAD)
    await judged.play(4, exchanges=1_000)
    await retold(fraud, replace(HAD, alpha_rollback=0.2))
    again = JudgedRollout(fraud, judged.rollout)
    await again.look()
    assert again.rollout.evidence == judged.rollout.evidence
