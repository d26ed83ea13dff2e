"""A stored rollout is the rollout, every float to its last bit."""

import json
import struct
from dataclasses import fields, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import Policy
from app.domain.evidence.evidence import ArmCounts, EpochCounts
from app.domain.evidence.model_evidence import SpreadEpoch
from app.domain.evidence.tally import Outcome, Tally
from app.domain.guardrails.assess import assess
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase, Rollout, RolloutId, begin
from app.domain.stats.histogram import Spread, histogram_of
from app.store.pg.codec import rollout_from_json, to_json
from app.store.pg.database import Database
from bench import slices

NOW = datetime(2026, 9, 1, 10, 11, 12, 131_415, UTC)
POLICY, NOTHING = DEFAULT_POLICY, Tally()
numbers = st.floats(allow_nan=False, allow_infinity=False)


def rollout(policy: Policy = POLICY, reference: Tally = NOTHING) -> Rollout:
    started = begin(
        RolloutId("0198c0de-0000-7000-8000-000000000000"),
        ModelName("fraud"),
        VersionName("v1"),
        VersionName("v2"),
        POLICY,
        reference,
        NOW,
    )
    return replace(started, policy=policy)


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


# The first value pays for building the codec.
@settings(deadline=None)
@given(
    alpha=numbers, margin=numbers, weight_bp=st.integers(0, 10_000), slow=st.lists(st.integers(0, 2**31), max_size=4)
)
def test_what_was_stored_comes_back(alpha: float, margin: float, weight_bp: int, slow: list[int]) -> None:
    before = rollout(replace(POLICY, alpha_rollback=alpha, guardrails=(guardrail("errors", margin=margin),)))
    counts = EpochCounts(ArmCounts(5, {Outcome.TIMEOUT: 3, Outcome.CANCELLED: 1}, 4, tuple(slow)), ArmCounts())
    before = replace(
        before,
        phase=Phase.PAUSED,
        held_from=Phase.RAMPING,
        weight_bp=weight_bp,
        first_exposed_at=NOW,
        evidence=replace(before.evidence, by_weight={weight_bp: counts}),
    )
    after = rollout_from_json(to_json(before))
    assert after == before
    assert bits(after.policy.alpha_rollback) == bits(before.policy.alpha_rollback)


def test_every_type_comes_back_as_itself() -> None:
    reference = Tally(2_000, {Outcome.OK: 1_990, Outcome.TIMEOUT: 10}, 0, {400: 1_900, 500: 100})
    before = rollout(POLICY, reference)
    assert before.evidence.thresholds, "a thousand answers should freeze the thresholds"
    after = rollout_from_json(to_json(before))
    for field in fields(Rollout):
        assert type(getattr(after, field.name)) is type(getattr(before, field.name)), field.name
    assert {type(key) for key in after.evidence.read_through} == {type(key) for key in before.evidence.read_through}
    assert after == before


@pytest.mark.parametrize(
    "number", [0.1 + 0.2, 5e-324, 1e300, 1.7976931348623157e308, 1e22, 2.0**53 + 2, 1 / 3, 123456789.123456789]
)
async def test_postgres_keeps_every_bit_of_a_float(database: Database, number: float) -> None:
    before = rollout(replace(POLICY, max_extra_bad=number))
    async with database.transaction() as tx:
        kept = await tx.scalar(text("SELECT CAST(CAST(:state AS jsonb) AS text)"), {"state": to_json(before)})
    assert bits(rollout_from_json(kept).policy.max_extra_bad) == bits(number)


def test_what_json_has_no_number_for_travels_as_text() -> None:
    assert json.loads(to_json({"up": float("inf"), "none": float("nan")})) == {"up": "Infinity", "none": "NaN"}
    endless = rollout(replace(POLICY, max_extra_bad=float("inf")))
    assert rollout_from_json(to_json(endless)) == endless


def reordered(value: object) -> object:
    """The same document with its members in another order, as a database keeps them."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in sorted(value, reverse=True)}
    return [reordered(each) for each in value] if isinstance(value, list) else value


def test_what_was_read_and_labelled_is_judged_to_the_bit_the_same_after_it_was_stored() -> None:
    evidence = slices.drawn(np.random.default_rng(3), 7)
    rng = np.random.default_rng(4)
    seen, usual = (Spread(histogram_of(rng.normal(size=n).tolist())) for n in (500, 900))
    of_model = replace(
        evidence.of_model, spreads={100: SpreadEpoch(seen, seen), 5_000: SpreadEpoch(seen, usual)}, usual=usual
    )
    metrics = ("errors", "validity", "slices", "cost")
    before = replace(
        rollout(replace(DEFAULT_POLICY, guardrails=tuple(map(guardrail, metrics)))),
        evidence=replace(evidence, of_model=of_model),
    )
    after = rollout_from_json(json.dumps(reordered(json.loads(to_json(before)))))
    assert after == before
    assert assess(after.evidence, after.policy) == assess(before.evidence, before.policy)
