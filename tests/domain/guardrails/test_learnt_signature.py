"""The learnt signature: a canary that predicts what stable never did is turned back, unless it says that it may."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
import pytest
from domain.guardrails.test_validity import POLICY, VALID, Value, classes, evidence, judged, predicting, read

from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import ModelEvidence
from app.domain.guardrails.finding import Verdict
from app.domain.guardrails.learnt_signature import learnt, strange
from app.domain.guardrails.registry import judge
from app.domain.stats.histogram import Spread, histogram_of

ANIMALS = classes(1_000, cat=0.4, dog=0.3, cow=0.3)


def learning(
    canary: Sequence[Value], stable: Sequence[Value], usual: Sequence[Value], weight_bp: int = 5_000
) -> Evidence:
    found = predicting(canary, stable, usual, weight_bp)
    return replace(found, of_model=replace(found.of_model, learns_signature=True))


def test_a_canary_that_answers_numbers_where_stable_names_classes_is_turned_back_and_told_apart() -> None:
    rng = np.random.default_rng(1)
    finding = judged(learning(rng.uniform(0.0, 10.0, 1_000).tolist(), ANIMALS, ANIMALS))
    assert finding.verdict is Verdict.REGRESSED
    assert finding.sentence == (
        "v2 is proven to predict what v1 never did, mostly a number, in 100.0 % of its answers, 0 % of v1's at the "
        "same weights; a version that means to is registered with a signature."
    )
    assert finding.numbers["extra"] == 1_000.0


@pytest.mark.parametrize(("weight_bp", "stable"), [(100, ANIMALS * 20), (5_000, ANIMALS[:200])])
def test_other_names_for_the_classes_are_strange_at_any_weight(weight_bp: int, stable: list[Value]) -> None:
    canary = classes(200, **{"0": 0.5, "1": 0.5})
    assert judged(learning(canary, stable, ANIMALS, weight_bp)).verdict is Verdict.REGRESSED


def test_texts_in_place_of_numbers_are_strange_and_other_numbers_are_not() -> None:
    rng = np.random.default_rng(2)
    usual = rng.uniform(0.0, 1.0, 1_000).tolist()
    assert judged(learning(ANIMALS, usual, usual)).verdict is Verdict.REGRESSED
    other = strange(learning(rng.uniform(50.0, 90.0, 1_000).tolist(), usual, usual))
    assert other is not None
    assert other.log_e <= 0.0


def test_a_version_that_declares_its_signature_is_held_against_that_alone() -> None:
    found = learning(classes(1_000, lion=0.5, bear=0.5), ANIMALS, ANIMALS)
    declared = replace(found, of_model=replace(found.of_model, learns_signature=False))
    assert strange(declared) is None
    assert judged(declared).verdict is not Verdict.REGRESSED


def test_a_class_too_rare_to_be_learnt_is_held_against_nobody_even_where_the_canary_says_it_twice_as_often() -> None:
    stable = classes(20_000, cat=0.697, dog=0.3, cow=0.003)
    canary = classes(20_000, cat=0.694, dog=0.3, cow=0.006)
    found = strange(learning(canary, stable, classes(400, cat=0.7, dog=0.3)))
    assert found is not None
    assert found.log_e < 0.0


def test_texts_of_many_kinds_are_no_classes_and_too_few_values_teach_nothing() -> None:
    assert learnt(histogram_of([f"text {i}" for i in range(1_000)])).classes is None  # type: ignore[union-attr]
    assert learnt(histogram_of(["cat"] * 199)) is None
    assert learnt(histogram_of([None] * 1_000)) is None


def test_promotion_waits_until_predictions_were_seen_and_then_for_the_proof() -> None:
    unseen = evidence({5_000: (read(5_000), read(5_000))})
    usual = Spread(histogram_of(ANIMALS))
    waiting = replace(unseen, of_model=replace(unseen.of_model, usual=usual, learns_signature=True))
    finding = judged(waiting)
    assert finding.verdict is Verdict.INCONCLUSIVE_HEALTHY
    assert finding.sentence.endswith("is not proven yet.")
    declared = replace(waiting, of_model=replace(waiting.of_model, learns_signature=False))
    assert judged(declared).verdict is Verdict.INCONCLUSIVE_HEALTHY
    assert judged(learning(ANIMALS * 3, ANIMALS * 3, ANIMALS)).verdict is Verdict.HEALTHY


def test_where_nothing_varies_promotion_waits_for_familiar_predictions_alone() -> None:
    one: list[Value] = ["cat"] * 1_000
    unseen = evidence({5_000: (read(5_000), read(5_000))})
    known = ModelEvidence(observed=unseen.of_model.observed, usual=Spread(histogram_of(one)), learns_signature=True)
    finding = judged(replace(unseen, of_model=known))
    assert finding.sentence.endswith("That v2 predicts only what v1 does is not proven yet.")
    assert judged(learning(one * 3, one * 3, one)).verdict is Verdict.HEALTHY


def test_an_equal_canary_is_turned_back_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(7)
    shares = [0.5, 0.3, 0.19, 0.01]
    names = np.array(["cat", "dog", "cow", "yak"])
    false = 0
    for _ in range(400):
        usual, canary, stable = (rng.choice(names, n, p=shares).tolist() for n in (200, 500, 500))
        false += judge(learning(canary, stable, usual), POLICY, VALID).verdict is Verdict.REGRESSED
    assert false <= 4


def test_it_is_a_third_voice_with_half_of_what_is_said_of_predictions() -> None:
    found = learning(classes(40, lion=1.0), ANIMALS[:40], ANIMALS)
    heard = strange(found)
    assert heard is not None
    harm = judged(found).log_e_worse
    assert harm is not None
    assert harm >= heard.log_e + log(0.25)
