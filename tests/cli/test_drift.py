"""`drift`: distributions that moved, as people see them."""

import json

import pytest
from cli.command import Command
from fakes.fixed_answer import fixed_answer

from app.cli.verbs import ExitCode


def shown(capsys: pytest.CaptureFixture[str], found: dict[str, object]) -> str:
    """The lines of `drift` for a gateway's document."""
    with fixed_answer(200, json.dumps(found).encode()) as url:
        return Command(capsys, url)("drift", "fraud", "--url", url).out


def test_drift_of_a_model_that_nothing_was_read_of_says_so(command: Command) -> None:
    ran = command("drift", "fraud", "--window", "600")
    assert ran.code == 0, ran.err
    assert "fraud v1: no window of 600 s is over yet" in ran.out
    assert command("drift", "fraud", "--json").document["distributions"] == []
    assert command("drift", "fraud", "--window", "7").code == ExitCode.USAGE
    assert command("drift", "nobody").code == ExitCode.USAGE


def test_what_is_flagged_and_what_the_traffic_did_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    effect = {"psi": 0.31, "jensen_shannon": 0.04, "wasserstein": 0.12, "worst_ratio": 3.0}
    row = {"name": "age", "n": 900, "reference_n": 5_000, "effect": effect, "log_e": 60.0, "log_limit": 7.0}
    small = {**row, "name": "rare", "n": 0, "effect": None, "log_e": 0.0, "flagged": False}
    beside = {"name": "predictions", "log_e": 0.0, "psi": None, "jensen_shannon": None}
    found = {
        "model": "fraud",
        "version": "v2",
        "reference": "training",
        "window_s": 600,
        "bake_in_since": None,
        "bake_in_until": None,
        "since": "2026-11-25T10:00:00Z",
        "until": "2026-11-25T10:10:00Z",
        "distributions": [{**row, "flagged": True}, small],
        "traffic_changed": ["age"],
        "beside_stable": {"canary": "v2", "stable": "v1", "inputs": [], "predictions": beside},
    }
    text = shown(capsys, found)
    assert "fraud v2" in text.splitlines()[0]
    assert text.splitlines()[0].endswith("beside what it was trained on")
    marked = [line for line in text.splitlines() if line.startswith("⚠")]
    assert "age" in marked[0]
    assert "0.31" in marked[0]
    assert marked[1] == "⚠ changed for both versions, so by the traffic: age"
    assert len(marked) == 2
    assert any(line.startswith("rare") for line in text.splitlines())
    assert "v2 beside v1, at the same weights" in text


def test_what_a_version_without_a_training_reference_is_held_against_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {
        "model": "fraud",
        "version": "v2",
        "reference": "bake-in",
        "window_s": 600,
        "bake_in_since": "2026-11-25T09:00:00Z",
        "bake_in_until": "2026-11-25T09:40:00Z",
        "since": "2026-11-25T10:00:00Z",
        "until": "2026-11-25T10:10:00Z",
        "distributions": [],
        "traffic_changed": [],
        "beside_stable": None,
    }
    first = shown(capsys, found).splitlines()[0]
    assert "beside its bake-in, " in first
    assert first.endswith("no training reference is registered with it")
    partly = shown(capsys, {**found, "reference": "training"}).splitlines()[0]
    assert "beside what it was trained on, and its bake-in, " in partly
    waiting = shown(capsys, {**found, "since": None})
    assert "no window of 600 s is over behind its bake-in, " in waiting
