"""A rollout survives JSON bit for bit, as the store keeps it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Assessment
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import BrakeOpened, Paused, Resolution, Rollout
from bench.world import START, Arm, Setting, World

ROLLOUT: TypeAdapter[Any] = TypeAdapter(Rollout)
RESOLUTION: TypeAdapter[Any] = TypeAdapter(Resolution)
ASSESSMENT: TypeAdapter[Any] = TypeAdapter(Assessment)


def played(seconds: int, seed: int = 3) -> World:

    arm = Arm(0.01, 0.002, 40.0)
    world = World(Setting(arm, arm, 200.0, replace(DEFAULT_POLICY, warmup_s=0.0)), np.random.default_rng(seed))
    world.play(seconds)
    return world


@pytest.mark.parametrize("seconds", [0, 1, 7, 25])
def test_a_rollout_with_all_its_evidence_comes_back_equal(seconds: int) -> None:
    rollout = played(seconds).rollout
    as_json = ROLLOUT.dump_python(rollout, mode="json")
    assert ROLLOUT.validate_python(as_json) == rollout
    assert ROLLOUT.validate_json(ROLLOUT.dump_json(rollout)) == rollout


def test_a_held_rollout_comes_back_with_what_holds_it() -> None:
    world = played(12)
    world.take(BrakeOpened(), START)
    frozen = world.rollout
    assert ROLLOUT.validate_json(ROLLOUT.dump_json(frozen)) == frozen
    world.take(Paused(), START)
    assert ROLLOUT.validate_json(ROLLOUT.dump_json(world.rollout)) == world.rollout


def test_what_was_judged_is_judged_the_same_after_json() -> None:
    rollout = played(25).rollout
    again = ROLLOUT.validate_json(ROLLOUT.dump_json(rollout))
    assert assess(again.evidence, again.policy) == assess(rollout.evidence, rollout.policy)


def test_decisions_and_assessments_are_json() -> None:
    world = played(25)
    assert len(world.resolutions) > 5
    for resolution in world.resolutions:
        assert RESOLUTION.validate_json(RESOLUTION.dump_json(resolution)) == resolution
    seen = assess(world.rollout.evidence, world.rollout.policy)
    assert ASSESSMENT.validate_json(ASSESSMENT.dump_json(seen)) == seen
