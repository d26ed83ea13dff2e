"""What the engine promises, kept in seeded worlds through the real absorb, assess and advance."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import sin

import numpy as np
import pytest
from scipy.stats import binom

from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase
from bench.judging.coin import turnback
from bench.judging.draws import Steady
from bench.rivals import peeking
from bench.world import Arm, Setting, Story, World, play

ERRORS_ONLY = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"),), warmup_s=0.0)
EVERYTHING = replace(DEFAULT_POLICY, warmup_s=0.0)
FINE = Arm(0.01)
ALPHA = 0.01


def stories(setting: Setting, seeds: Iterable[int], patience_s: int = 1_800) -> list[Story]:
    return [play(setting, seed, patience_s) for seed in seeds]


def told(story: Story) -> str:
    """What happened, for a failing test to print."""
    return "\n".join(resolution.sentence for resolution in story.resolutions)


def assert_at_most(share: float, hits: int, runs: int) -> None:
    """Not refuted at 0.1 %: so many hits, or more, would not surprise if the true share were `share`."""
    assert binom.sf(hits - 1, runs, share) > 0.001, f"{hits} of {runs}"


def phases(played: Sequence[Story]) -> list[Phase]:
    return [story.phase for story in played]


def test_one_healthy_version_in_a_hundred_is_turned_back_at_most_however_often_it_is_looked_at() -> None:
    runs = 600
    traffic = Steady(0.01, looks=400).draw(runs, np.random.default_rng(11)).seen
    assert_at_most(ALPHA, int(np.isfinite(turnback(traffic, ALPHA).rolled_back).sum()), runs)
    # The same draws, read with a test that knows nothing of peeking.
    assert np.isfinite(peeking.judge(traffic, ALPHA).rolled_back).mean() > 0.05


def test_whole_healthy_rollouts_are_promoted_and_hardly_ever_turned_back() -> None:
    played = stories(Setting(FINE, FINE, 1_000.0, ERRORS_ONLY), range(60))
    assert_at_most(ALPHA, phases(played).count(Phase.ROLLED_BACK), 60)
    assert phases(played).count(Phase.PROMOTED) >= 57


def test_a_base_rate_that_swings_while_weights_move_turns_no_healthy_version_back() -> None:
    setting = Setting(FINE, FINE, 600.0, ERRORS_ONLY, lambda second: 1.0 + 0.9 * sin(second / 9.0))
    played = stories(setting, range(40), patience_s=300)
    assert_at_most(ALPHA, phases(played).count(Phase.ROLLED_BACK), 40)
    assert phases(played).count(Phase.PROMOTED) >= 35


def test_a_base_rate_that_rises_during_the_ramp_turns_no_healthy_version_back() -> None:
    setting = Setting(FINE, FINE, 600.0, ERRORS_ONLY, lambda second: 0.5 + min(1.5, second / 20.0))
    played = stories(setting, range(30), patience_s=300)
    assert_at_most(ALPHA, phases(played).count(Phase.ROLLED_BACK), 30)


@pytest.mark.parametrize("per_s", [20.0, 1_000.0])
def test_a_canary_that_always_fails_is_gone_within_a_dozen_answers(per_s: float) -> None:
    for seed in range(20):
        story = play(Setting(FINE, Arm(1.0), per_s, EVERYTHING), seed, 600)
        assert story.phase is Phase.ROLLED_BACK, told(story)
        assert story.canary_answers <= 12, told(story)


def test_a_canary_with_five_times_the_errors_is_turned_back_on_errors() -> None:
    for seed in range(15):
        story = play(Setting(FINE, Arm(0.05), 1_000.0, EVERYTHING), seed, 1_800)
        assert story.phase is Phase.ROLLED_BACK, told(story)
        assert str(story.resolutions[-1].trigger) == "errors", told(story)


def test_a_canary_that_times_out_is_turned_back_on_timeouts() -> None:
    for seed in range(15):
        story = play(Setting(FINE, Arm(0.01, 0.2), 300.0, EVERYTHING), seed, 1_800)
        assert (story.phase, str(story.resolutions[-1].trigger)) == (Phase.ROLLED_BACK, "timeouts"), told(story)


def test_a_canary_that_is_twice_as_slow_is_turned_back_on_latency() -> None:
    for seed in range(15):
        setting = Setting(Arm(0.01, 0.0, 40.0), Arm(0.01, 0.0, 80.0), 300.0, EVERYTHING)
        story = play(setting, seed, 1_800)
        assert (story.phase, str(story.resolutions[-1].trigger)) == (Phase.ROLLED_BACK, "latency"), told(story)


def test_a_canary_that_is_a_little_slower_is_promoted() -> None:
    for seed in range(8):
        story = play(Setting(Arm(0.01, 0.0, 40.0), Arm(0.01, 0.0, 44.0), 300.0, EVERYTHING), seed, 1_800)
        assert story.phase is Phase.PROMOTED, told(story)


def test_a_canary_on_the_margin_is_promoted_at_most_as_often_as_the_policy_says() -> None:
    played = stories(Setting(FINE, Arm(0.02), 1_000.0, ERRORS_ONLY), range(20))
    assert_at_most(ERRORS_ONLY.alpha_promotion, phases(played).count(Phase.PROMOTED), 20)


def test_expected_extra_failures_of_one_step_stay_within_the_budget() -> None:
    extra = [play(Setting(FINE, Arm(1.0), 500.0, ERRORS_ONLY), seed, 600).extra_bad for seed in range(40)]
    assert np.mean(extra) <= ERRORS_ONLY.max_extra_bad


class CrookedWorld(World):
    """A gateway whose coin gives the canary twice what the route says."""

    def canary_share(self) -> float:
        return min(1.0, 2.0 * super().canary_share())


def test_a_coin_that_lies_about_its_weight_makes_the_rollout_invalid_not_the_canary_bad() -> None:
    for seed in range(4):
        world = CrookedWorld(Setting(FINE, FINE, 1_000.0, ERRORS_ONLY), np.random.default_rng(seed))
        story = world.play(300)
        assert story.phase is Phase.INVALID, told(story)
        assert story.rollout.weight_bp == 0
