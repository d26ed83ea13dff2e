"""What a bad canary costs: the same bound at ten requests an hour as at ten thousand a second."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from app.domain.catalog.policy import Policy
from app.domain.evidence.evidence import absorb
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import TERMINAL, Phase
from bench.world import CANARY, MODEL, STABLE, START_S, Arm, Setting, Story, World, play

ERRORS_ONLY = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"),), warmup_s=0.0)
EVERYTHING = replace(DEFAULT_POLICY, warmup_s=0.0)
FINE, DEAD, BAD = Arm(0.01), Arm(1.0), Arm(0.05)
TEN_AN_HOUR = 10.0 / 3_600.0
# The ladder has twelve rungs: after so many looks without news the weight moves no more.
LOOKS = 13
WEEK_S = 7 * 86_400


class QuietWorld(World):
    """One exchange now and then; the seconds in which nothing comes and nothing moves are skipped."""

    def play(self, patience_s: int) -> Story:
        second = 0
        while self.rollout.phase not in TERMINAL and second < patience_s:
            for quiet in range(LOOKS):
                if self.rollout.phase not in TERMINAL:
                    self._look(second + quiet)
            second += LOOKS + int(self.rng.exponential(1.0 / self.setting.exchanges_per_s))
            mature = Watermark(START_S + second, START_S + second)
            evidence = absorb(self.rollout.evidence, [self._one(second)], self.weights_bp, mature)
            self.rollout = replace(self.rollout, evidence=evidence)
            second += 1
        answers = sum(epoch.canary.judged for epoch in self.rollout.evidence.by_weight.values())
        worse = self.setting.canary.bad_rate - self.setting.stable.bad_rate
        return Story(self.rollout, second, answers, answers * worse, tuple(self.resolutions))

    def _one(self, second: int) -> TallyRow:
        """A single exchange: the coin, and its outcome."""
        is_canary = self.rng.random() < self.canary_share()
        arm = self.setting.canary if is_canary else self.setting.stable
        outcome = Outcome.UPSTREAM_ERROR if self.rng.random() < arm.bad_rate else Outcome.OK
        key = TallyKey(START_S + second, MODEL, self.generation, CANARY if is_canary else STABLE)
        return TallyRow(key, Tally(1, {outcome: 1}), 1)


def played(canary: Arm, per_s: float, policy: Policy, runs: int) -> Sequence[Story]:
    setting = Setting(FINE, canary, per_s, policy)
    if per_s < 1.0:
        return [QuietWorld(setting, np.random.default_rng(seed)).play(WEEK_S) for seed in range(runs)]
    return [play(setting, seed, 1_800) for seed in range(runs)]


@pytest.mark.parametrize("policy", [ERRORS_ONLY, EVERYTHING], ids=["errors", "everything"])
@pytest.mark.parametrize("per_s", [TEN_AN_HOUR, 1.0, 100.0, 10_000.0])
def test_a_canary_that_always_fails_costs_no_more_than_the_policy_says(per_s: float, policy: Policy) -> None:
    stories = played(DEAD, per_s, policy, 40)
    assert {story.phase for story in stories} == {Phase.ROLLED_BACK}
    costs = [story.extra_bad for story in stories]
    assert np.mean(costs) <= policy.max_extra_bad
    # Exchanges come in bursts: the draws of the last second are not expected but drawn.
    assert max(costs) <= 2.0 * policy.max_extra_bad


@pytest.mark.parametrize("per_s", [TEN_AN_HOUR, 100.0, 10_000.0])
def test_a_thrifty_policy_is_kept_too(per_s: float) -> None:
    thrifty = replace(ERRORS_ONLY, max_extra_bad=3.0)
    stories = played(DEAD, per_s, thrifty, 30)
    assert {story.phase for story in stories} == {Phase.ROLLED_BACK}
    # Where stable fails too, now and then one more answer is needed than the budget reckons with.
    assert np.mean([story.extra_bad for story in stories]) <= 1.2 * thrifty.max_extra_bad


@pytest.mark.parametrize(("per_s", "runs"), [(TEN_AN_HOUR, 20), (100.0, 40), (10_000.0, 40)])
def test_no_step_of_a_canary_with_five_times_the_errors_costs_more_than_the_policy_says(
    per_s: float, runs: int
) -> None:
    stories = played(BAD, per_s, ERRORS_ONLY, runs)
    excess = BAD.bad_rate - FINE.bad_rate
    for story in stories:
        assert story.phase is not Phase.PROMOTED
        # Two seconds go by between a draw and the look that judges it.
        at_once = story.canary_answers / max(1, story.seconds) * 2.0 * excess
        assert at_once <= ERRORS_ONLY.max_extra_bad
    # What the whole proof costs is not bounded by the budget: no test knows 5 % from 1 % for less than 5 on average.
    assert np.mean([story.extra_bad for story in stories]) <= 3.0 * ERRORS_ONLY.max_extra_bad
