"""A rollout judged again goes as it went under its own policy, and as another policy would have it under another."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from app.domain.catalog.policy import Policy
from app.domain.evidence.tally import Tally, TallyRow
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import Phase, Rollout, RolloutId, begin
from app.domain.rollout.simulation import Ending, Fate, Glimpse, Retrial, compared, retry
from bench.world import CANARY, MODEL, STABLE, START, START_S, Arm, Setting, Story, World

POLICY = replace(DEFAULT_POLICY, warmup_s=0.0)
GOOD, BAD = Arm(0.01, 0.001, 40.0), Arm(0.05, 0.001, 40.0)


class RecordedWorld(World):
    """A world that keeps what it draws."""

    def __init__(self, canary: Arm, policy: Policy = POLICY) -> None:
        self.rows: list[TallyRow] = []
        super().__init__(Setting(GOOD, canary, 200.0, policy), np.random.default_rng(5))
        self.nothing_read = self.rollout.evidence

    def draw(self, second: int) -> Iterable[TallyRow]:
        drawn = tuple(super().draw(second))
        self.rows += drawn
        return drawn

    def begun(self, policy: Policy = POLICY) -> Rollout:
        """The rollout before its start, with the reference it had."""
        pending = begin(RolloutId("r1"), MODEL, STABLE, CANARY, policy, Tally(), START)
        return replace(pending, evidence=self.nothing_read)

    def retried(self, policy: Policy, story: Story, step: int = 1) -> Retrial:
        """The same rows under this policy, looked at every `step` seconds."""
        glimpses = [
            Glimpse(
                START_S + second + step - 1,
                [row for row in self.rows if second <= row.key.second - START_S < second + step],
            )
            for second in range(0, story.seconds, step)
        ]
        return retry(self.begun(policy), glimpses, self.weights_bp, 0.0)


@pytest.mark.parametrize(("canary", "phase"), [(GOOD, Phase.PROMOTED), (BAD, Phase.ROLLED_BACK)])
def test_the_policy_it_had_makes_of_it_what_it_made(canary: Arm, phase: Phase) -> None:
    world = RecordedWorld(canary)
    story = world.play(300)
    retrial = world.retried(POLICY, story)
    assert story.phase is phase
    assert [step.resolution for step in retrial.steps] == [
        made for made in story.resolutions if made.trigger != "operator"
    ]
    assert (retrial.ending.phase, retrial.ending.at) == (phase, story.rollout.phase_since)
    assert retrial.ending.canary_answers == story.canary_answers
    assert retrial.elsewhere == 0


def test_a_stricter_policy_leaves_undecided_what_was_promoted() -> None:
    world = RecordedWorld(GOOD)
    retrial = world.retried(replace(POLICY, alpha_promotion=1e-6), world.play(300))
    assert retrial.ending.fate is Fate.UNDECIDED


def test_a_bolder_policy_turns_back_sooner_and_at_weights_that_were_not_its_own() -> None:
    world = RecordedWorld(BAD)
    story = world.play(300)
    retrial = world.retried(replace(POLICY, alpha_rollback=0.2, freeze_at=5.0, max_weight_bp=10), story)
    assert retrial.ending.fate is Fate.ROLLED_BACK
    assert retrial.ending.at < story.rollout.phase_since
    assert retrial.ending.canary_answers < story.canary_answers
    assert retrial.elsewhere > 0


def test_looking_less_often_decides_the_same_a_little_later() -> None:
    world = RecordedWorld(BAD)
    story = world.play(300)
    ending = world.retried(POLICY, story, step=5).ending
    assert ending.fate is Fate.ROLLED_BACK
    assert 0.0 <= (ending.at - story.rollout.phase_since).total_seconds() < 5.0


def test_without_data_nothing_is_decided() -> None:
    world = RecordedWorld(GOOD)
    retrial = retry(world.begun(), [], world.weights_bp, 0.0)
    assert (retrial.ending.fate, retrial.ending.canary_answers, retrial.looks) == (Fate.UNDECIDED, 0, 0)


def test_a_deadline_that_comes_first_holds_the_rollout() -> None:
    world = RecordedWorld(GOOD)
    retrial = world.retried(replace(POLICY, deadline_s=3.0), world.play(300))
    assert (retrial.ending.phase, retrial.ending.fate) == (Phase.EXPIRED, Fate.HELD)


def test_both_endings_are_told_in_one_sentence() -> None:
    would_be = Ending(Phase.ROLLED_BACK, START, 31, 14.2)
    was = Ending(Phase.PROMOTED, START, 12_345, -3.0)
    assert compared("v2", would_be, was) == (
        "v2 would have been turned back at 2030-01-01T00:00:00Z after 31 of its answers, about 14 bad ones too many; "
        "it was promoted at 2030-01-01T00:00:00Z after 12,345 of its answers, about 0 bad ones too many."
    )
