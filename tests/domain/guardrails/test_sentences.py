"""What people read is plain, right to the digit, and free of statistics jargon."""

from dataclasses import replace
from math import log

import pytest

from app.domain.catalog.models import VersionName
from app.domain.guardrails.finding import Assessment, Cause, Trigger, Verdict
from app.domain.guardrails.phrases import milliseconds, percent
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout import wording
from app.domain.rollout.rollout import Phase
from bench.world import Arm, Setting, play

FINE = Arm(0.01, 0.0, 40.0)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.00042, "0.042 %"), (0.0097, "0.97 %"), (0.021, "2.10 %"), (0.5, "50.0 %"), (1.0, "100.0 %")],
)
def test_shares_are_percents(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(("bp", "text"), [(1, "0.01 %"), (50, "0.5 %"), (5_000, "50 %"), (0, "0 %")])
def test_weights_are_percents(bp: int, text: str) -> None:
    assert wording.weight_text(bp) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.0, "3 s"),
        (60.0, "1 minute"),
        (90.0, "1.5 minutes"),
        (7_200.0, "2 hours"),
        (86_400.0, "1 day"),
        (1e6, "11.6 days"),
    ],
)
def test_spans_have_their_largest_unit(seconds: float, text: str) -> None:
    assert wording.span_text(seconds) == text


@pytest.mark.parametrize(("per_s", "text"), [(0.0123, "0.012"), (9.0, "9"), (1_000.0, "1,000"), (12_345.6, "12,346")])
def test_rates_are_whole_from_ten_on(per_s: float, text: str) -> None:
    assert wording.rate_text(per_s) == text


def test_latencies_are_milliseconds() -> None:
    assert milliseconds(61_234.0) == "61.2 ms"


@pytest.mark.parametrize(
    ("canary", "phase", "said"),
    [
        (Arm(0.4, 0.0, 40.0), Phase.ROLLED_BACK, ["Turned v2 back after", "Error rate", "bad answers too many"]),
        (Arm(0.01, 0.4, 40.0), Phase.ROLLED_BACK, ["Turned v2 back after", "Timeout rate", "bad answers too many"]),
        (Arm(0.01, 0.0, 200.0), Phase.ROLLED_BACK, ["Turned v2 back after", "percentile", "slow answers too many"]),
        (FINE, Phase.PROMOTED, ["Promoted v2 after", "not worse than v1"]),
    ],
)
def test_the_last_sentence_of_a_rollout_says_what_ended_it(canary: Arm, phase: Phase, said: list[str]) -> None:
    story = play(Setting(FINE, canary, 500.0, replace(DEFAULT_POLICY, warmup_s=0.0)), 4, 900)
    sentences = [resolution.sentence for resolution in story.resolutions]
    assert story.phase is phase, sentences
    assert all(part in sentences[-1] for part in said), sentences[-1]
    for sentence in sentences:
        assert sentence.endswith(".")
        assert not {"e+", "nan", "None", "p-value", "probability"} & set(sentence.replace("+", "+ ").split())
        assert VersionName("v2") in sentence


@pytest.mark.parametrize(
    ("log_e", "text"), [(0.0, "1"), (log(23.456), "23.5"), (log(301.2), "301"), (900.0, "over 1,000,000,000")]
)
def test_evidence_is_short_and_huge_evidence_is_cut(log_e: float, text: str) -> None:
    assert wording.evidence_text(Assessment(Verdict.NO_EVENTS, (), log_e, Trigger(Cause.COUNTS))) == text
