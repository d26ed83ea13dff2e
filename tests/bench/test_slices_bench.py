"""The slices' benchmark: what it judges is complete, and its document says how long that took."""

import json

import numpy as np
import pytest

from app.domain.guardrails.slices.evidence import compared_slices, hypotheses
from bench import hidden, slices
from bench.tick import WEIGHTS_BP


def test_every_slice_is_judged_by_every_metric_at_every_weight() -> None:
    evidence = slices.drawn(np.random.default_rng(1), 5)
    assert len(evidence.of_model.observed) == len(WEIGHTS_BP)
    compared = compared_slices(evidence)
    assert len({(each.slice, each.metric) for each in compared}) == len(compared) == 5 * 6
    assert hypotheses(evidence) == (slices.SLICES + 1) * 6


@pytest.mark.bench
def test_the_document_says_what_judging_took() -> None:
    said: list[str] = []
    slices.main(["--slices", "3"], said.append)
    document = json.loads("\n".join(said))
    assert (document["slices"], document["metrics"]) == (3, 6)
    assert 0.0 < document["least_ms"] <= document["median_ms"] <= document["most_ms"]


@pytest.mark.bench
def test_the_document_of_hidden_faults_tells_every_plan() -> None:
    said: list[str] = []
    hidden.main(["--most", "1", "--seed", "4"], said.append)
    document = json.loads("\n".join(said))
    assert list(document["plans"]) == [plan.name for plan in hidden.PLANS]
    assert all(plan["rolled_back"]["runs"] == 1 for plan in document["plans"].values())
