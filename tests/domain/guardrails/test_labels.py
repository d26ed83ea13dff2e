"""Labels turn back and prove, unless they come unevenly or from one source among several."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from domain.counts import arm, evidence
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.declarations import Missing, QualityKind, QualityMetric, SliceKey
from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import Guardrail
from app.domain.evidence.absorb_cohort import Matured, absorb_cohort, begun
from app.domain.evidence.cohort import MISSING, Cohort, LossSums
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.loss import Labelled
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.labels import waits_s
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import judge

STABLE, CANARY = VersionName("v1"), VersionName("v2")
ACCURACY = QualityMetric("accuracy", QualityKind.ACCURACY, horizon_s=60.0)
GUARDRAIL = guardrail("labels", of="accuracy")
POLICY = replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, GUARDRAIL))
WEIGHTS = {1: 1_000, 2: 5_000}


def rows_of(
    rng: np.random.Generator,
    n: int,
    wrong: tuple[float, float],
    generation: int = 2,
    source: str = "us",
    share: float = 0.5,
) -> list[Labelled]:
    """Labelled exchanges of both arms, stable's and the canary's chance to be wrong."""
    made = []
    for place in range(n):
        is_canary = rng.random() < share
        label = "1" if rng.random() >= wrong[is_canary] else "0"
        version = CANARY if is_canary else STABLE
        made.append(Labelled(f"{source}{place}", version, generation, 10 + place % 5, source, label, ("1",)))
    return made


def cohort_of(*groups: list[Labelled], of: QualityMetric = ACCURACY, drawn: int = 0) -> Cohort:
    rows = tuple(row for group in groups for row in group)
    counts = {(2, STABLE): drawn, (2, CANARY): drawn}
    return absorb_cohort(begun(of, 0, ()), Matured(rows, counts, 100), WEIGHTS, CANARY)


def judged(cohort: Cohort, guardrail: Guardrail = GUARDRAIL) -> Finding:
    return judge(with_cohort(cohort), POLICY, guardrail)


def with_cohort(cohort: Cohort) -> Evidence:
    seen = replace(evidence({5_000: (arm(500, 5), arm(500, 5))}), stable=STABLE, canary=CANARY)
    return replace(seen, of_model=replace(seen.of_model, cohorts={"accuracy": cohort}))


def test_a_version_that_is_wrong_more_often_is_turned_back_by_labels_alone() -> None:
    rng = np.random.default_rng(1)
    seen = assess(with_cohort(cohort_of(rows_of(rng, 900, (0.1, 0.4)))), POLICY)
    assert (seen.verdict, str(seen.trigger)) == (Verdict.REGRESSED, "labels")


def test_one_as_good_is_proven_so_and_promotion_waits_for_that() -> None:
    rng = np.random.default_rng(2)
    few, many = cohort_of(rows_of(rng, 60, (0.1, 0.1))), cohort_of(rows_of(rng, 20_000, (0.1, 0.1)))
    assert judged(few).verdict is not Verdict.HEALTHY
    assert judged(many).verdict is Verdict.HEALTHY
    assert assess(with_cohort(few), POLICY).verdict is not Verdict.HEALTHY


def test_good_labels_alone_never_promote() -> None:
    rng = np.random.default_rng(3)
    nothing_else = with_cohort(cohort_of(rows_of(rng, 20_000, (0.1, 0.05))))
    nothing_else = replace(nothing_else, by_weight={})
    assert assess(nothing_else, POLICY).verdict is not Verdict.HEALTHY


def test_labels_that_come_for_one_version_only_prove_nothing() -> None:
    rng = np.random.default_rng(4)
    good = rows_of(rng, 6_000, (0.1, 0.1), share=0.9)
    finding = judged(cohort_of(good))
    assert finding.verdict is not Verdict.HEALTHY
    assert "more often for one of" in finding.sentence
    bad = judged(cohort_of(rows_of(rng, 6_000, (0.0, 0.5), share=0.9)))
    assert bad.verdict is not Verdict.REGRESSED


def test_no_single_source_decides_where_there_are_several() -> None:
    rng = np.random.default_rng(5)
    honest = [rows_of(rng, 300, (0.1, 0.1), source=name) for name in ("lab", "shop")]
    poison = rows_of(rng, 5_000, (0.0, 1.0), source="mallory")
    finding = judged(cohort_of(*honest, poison))
    assert finding.verdict is Verdict.INCONCLUSIVE_WORSE
    assert finding.held_because is not None
    assert "only mallory says" in finding.held_because
    assert assess(with_cohort(cohort_of(*honest, poison)), POLICY).held_by == "labels"
    assert judged(cohort_of(poison)).verdict is Verdict.REGRESSED


def test_no_single_source_proves_a_bad_version_good() -> None:
    rng = np.random.default_rng(6)
    honest = [rows_of(rng, 300, (0.1, 0.3), source=name) for name in ("lab", "shop")]
    praise = rows_of(rng, 9_000, (0.1, 0.0), source="mallory")
    assert judged(cohort_of(*honest, praise)).verdict is not Verdict.HEALTHY


def test_what_never_came_counts_as_bad_where_that_is_declared() -> None:
    rng = np.random.default_rng(7)
    cohort = cohort_of(rows_of(rng, 100, (0.0, 0.0)), of=replace(ACCURACY, missing=Missing.BAD), drawn=400)
    arm = cohort.by_weight[5_000].canary
    assert arm.by_source[MISSING].a == 400 - arm.by_source["us"].n
    assert MISSING not in cohort_of(rows_of(rng, 100, (0.0, 0.0)), drawn=400).by_weight[5_000].canary.by_source


@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_a_cohort_is_the_same_however_it_was_cut_and_ordered(random: object, cuts: int) -> None:
    rng = np.random.default_rng(8)
    rows = rows_of(rng, 60, (0.2, 0.3)) + rows_of(rng, 40, (0.2, 0.3), generation=1)
    rows = [row._replace(slices={"tier": f"t{len(row.exchange)}"}) for row in rows]
    keys = (SliceKey("tier", header="x-tier", values_max=2),)
    whole = absorb_cohort(begun(ACCURACY, 0, ()), Matured(tuple(rows), {(2, CANARY): 7}, 100), WEIGHTS, CANARY, keys)
    random.shuffle(rows)  # type: ignore[attr-defined]
    part = begun(ACCURACY, 0, ())
    for through in sorted({*(10 + at % 5 for at in range(cuts)), 100}):
        now = tuple(row for row in rows if part.read_through < row.second <= through)
        counts = {(2, CANARY): 7} if through == 100 else {}
        part = absorb_cohort(part, Matured(now, counts, through), WEIGHTS, CANARY, keys)
    assert part.by_weight == whole.by_weight
    assert part.slices == whole.slices


def test_a_cohort_that_was_read_is_not_read_again() -> None:
    cohort = cohort_of(rows_of(np.random.default_rng(9), 50, (0.1, 0.1)))
    again = Matured(tuple(rows_of(np.random.default_rng(10), 50, (0.9, 0.9))), {}, 100)
    assert absorb_cohort(cohort, again, WEIGHTS, CANARY) is cohort


@pytest.mark.parametrize("kind", [QualityKind.PRECISION, QualityKind.F1, QualityKind.SCORE, QualityKind.RECALL])
def test_every_kind_finds_a_version_that_is_much_worse_and_not_one_that_is_not(kind: QualityKind) -> None:
    rng = np.random.default_rng(11)
    of = QualityMetric("accuracy", kind)

    def rows(wrong: tuple[float, float]) -> list[Labelled]:
        made = rows_of(rng, 3_000, wrong)
        return [row._replace(label=1.0 if row.label == "1" else 0.0) for row in made]

    assert judged(cohort_of(rows((0.1, 0.5)), of=of)).verdict is Verdict.REGRESSED
    assert judged(cohort_of(rows((0.1, 0.1)), of=of)).log_e_worse < log(20)  # type: ignore[operator]


def test_the_reference_is_what_stable_lost_before() -> None:
    rng = np.random.default_rng(12)
    usual = [row for row in rows_of(rng, 900, (0.2, 0.2)) if row.version == STABLE]
    assert begun(ACCURACY, 0, usual).reference == pytest.approx(0.2, abs=0.05)
    assert begun(ACCURACY, 0, usual[:50]).reference == 0.1


def test_a_promotion_that_waits_for_labels_says_how_long() -> None:
    cohort = cohort_of(rows_of(np.random.default_rng(13), 50, (0.1, 0.1)))
    assert waits_s(with_cohort(cohort), POLICY) == 60.0
    assert waits_s(with_cohort(cohort), DEFAULT_POLICY) == 0.0


def test_losses_add() -> None:
    one, two = LossSums(1, 0.5, 1, 0.25, 0.5, 1), LossSums(2, 1, 2, 0.5, 1, 2)
    assert one.plus(two) == LossSums(3, 1.5, 3, 0.75, 1.5, 3)


def events(stable: tuple[int, int], canary: tuple[int, int]) -> Cohort:
    """A cohort in which only what happened is told: how many exchanges each arm had, and after how many it did."""
    clicks = QualityMetric("clicks", QualityKind.EVENT, horizon_s=60.0, missing=Missing.BAD)
    rows = [
        Labelled(f"{version}{place}", version, 2, 10, "us", "1")
        for version, (_, happened) in ((STABLE, stable), (CANARY, canary))
        for place in range(happened)
    ]
    drawn = {(2, STABLE): stable[0], (2, CANARY): canary[0]}
    return replace(
        absorb_cohort(begun(clicks, 0, ()), Matured(tuple(rows), drawn, 100), WEIGHTS, CANARY), reference=0.9
    )


def test_an_event_of_which_only_its_happening_is_told_is_judged_by_how_often_it_did() -> None:
    # Half as many labels are half as many events: no want of coverage.
    assert judged(events((3_000, 300), (3_000, 150))).verdict is Verdict.REGRESSED
    assert judged(events((12_000, 1_200), (12_000, 1_200))).verdict is Verdict.HEALTHY


def test_of_a_rare_event_no_more_than_a_margin_of_it_may_be_lost() -> None:
    # Half of it is 5 points of the whole, less than a tenth of what is usually lost.
    seen = judged(events((40_000, 4_000), (40_000, 2_000)))
    assert (seen.log_e_not_worse or 0.0) < log(1.0 / POLICY.alpha_promotion)


def test_who_labels_first_does_not_choose_which_answers_the_others_are_heard_about() -> None:
    # One source takes every wrong answer of the canary, and as many of stable's, before two honest ones come to them.
    rows, claimed = [], 0
    for place in range(12_000):
        is_canary, honest = place % 2 == 1, ("ops", "users")[place // 2 % 2]
        is_wrong = place // 4 % 10 < (4 if is_canary else 1)
        truth = "0" if is_wrong else "1"
        version = CANARY if is_canary else STABLE
        claims = is_wrong if is_canary else claimed > 0
        claimed += (1 if is_canary else -1) * claims
        if claims:
            row = Labelled(f"{place:06}", version, 2, 10, "first", "1", ("1",), another=truth)
        else:
            row = Labelled(f"{place:06}", version, 2, 10, honest, truth, ("1",))
        rows.append(row)
    deaf = [row._replace(another=None) for row in rows]
    limit = log(1.0 / POLICY.alpha_promotion)
    assert (judged(cohort_of(deaf)).log_e_not_worse or 0.0) >= limit
    assert (judged(cohort_of(rows)).log_e_not_worse or 0.0) < limit


def test_what_the_next_source_says_is_kept_beside_what_counts_however_the_reading_is_cut() -> None:
    rows = [
        Labelled("a", CANARY, 2, 10, "ops", "1", ("1",), another="0"),
        Labelled("b", CANARY, 2, 11, "ops", "0", ("1",), another="1"),
        Labelled("c", CANARY, 2, 11, "users", "1", ("1",)),
    ]
    whole = cohort_of(rows)
    cut = absorb_cohort(begun(ACCURACY, 0, ()), Matured(tuple(rows[:1]), {(2, CANARY): 0}, 10), WEIGHTS, CANARY)
    cut = absorb_cohort(cut, Matured(tuple(rows[1:]), {(2, CANARY): 0}, 100), WEIGHTS, CANARY)
    canary = whole.by_weight[5_000].canary
    assert canary.by_source == {"ops": LossSums(2, 1, 2, 1, 1, 2), "users": LossSums(1, 0, 1, 0, 0, 1)}
    assert canary.seconded == {"ops": LossSums(2, 1, 2, 1, 1, 2)}
    assert cut.by_weight[5_000].canary == canary
