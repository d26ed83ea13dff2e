"""The tick's benchmark: its rollouts are undecided and complete, and its parts are parts."""

import json

import numpy as np
import pytest

from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Verdict
from bench import tick


def test_the_rollouts_are_still_undecided_and_every_guardrail_has_something_to_say() -> None:
    rollout = tick.draw_rollout(np.random.default_rng(1), 0)
    assert len(rollout.evidence.by_weight) == len(tick.WEIGHTS_BP)
    assessment = assess(rollout.evidence, rollout.policy)
    assert assessment.verdict is Verdict.INCONCLUSIVE_HEALTHY
    assert all(finding.log_e_worse is not None for finding in assessment.findings)
    assert len(assessment.findings) == len(tick.POLICY.guardrails) + 1


@pytest.mark.bench
def test_the_document_says_what_a_tick_takes_and_where() -> None:
    said: list[str] = []
    tick.main(["--rollouts", "3"], said.append)
    document = json.loads("\n".join(said))
    assert document["rollouts"] == 3
    assert document["cpu_s"] > 0.0
    assert document["shares"]["latency.judge_latency"] > 0.0
    assert sum(document["shares"].values()) <= 1.01
