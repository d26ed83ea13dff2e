"""Labels turn back and prove, unless they come unevenly or from one source among several."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from counts import arm, evidence
from hypothesis import given
from hypothesis import strategies as st

from app.domain.analysis import assess
from app.domain.catalog import VersionName
from app.domain.cohort import Cohort, LossSums
from app.domain.cohort_ledger import MISSING, Matured, absorb_cohort, begun
from app.domain.declared import Missing, QualityKind, QualityMetric, SliceKey
from app.domain.finding import Finding, Verdict
from app.domain.labelled import judge_labels, waits_s
from app.domain.ledger import Evidence
from app.domain.policy import EVERY_MODEL, Guardrail, Metric, Policy
from app.domain.quality import Labelled

STABLE, CANARY = VersionName("v1"), VersionName("v2")
ACCURACY = QualityMetric("accuracy", QualityKind.ACCURACY, horizon_s=60.0)
GUARDRAIL = Guardrail(Metric.LABELS, of="accuracy")
POLICY = Policy(guardrails=(*map(Guardrail, EVERY_MODEL), GUARDRAIL))
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
    return judge_labels(with_cohort(cohort), POLICY, guardrail)


def with_cohort(cohort: Cohort) -> Evidence:
    seen = replace(evidence({5_000: (arm(500, 5), arm(500, 5))}), stable=STABLE, canary=CANARY)
    return replace(seen, of_model=replace(seen.of_model, cohorts={"accuracy": cohort}))


def test_a_version_that_is_wrong_more_often_is_turned_back_by_labels_alone() -> None:
    rng = np.random.default_rng(1)
    seen = assess(with_cohort(cohort_of(rows_of(rng, 900, (0.1, 0.4)))), POLICY)
    assert (seen.verdict, seen.trigger) == (Verdict.REGRESSED, "labels")


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
    assert waits_s(with_cohort(cohort), Policy()) == 0.0


def test_losses_add_and_are_taken_away() -> None:
    one, two = LossSums(1, 0.5, 1, 0.25, 0.5, 1), LossSums(2, 1, 2, 0.5, 1, 2)
    assert one.plus(two).minus(two) == one
