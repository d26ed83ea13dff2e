"""What replicas, order and cuts do to a verdict: nothing, to the last bit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from domain.counts import HISTORY, START
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.evidence import Evidence, absorb
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Assessment
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL

_K = TypeVar("_K")

STABLE, CANARY = VersionName("v1"), VersionName("v2")
POLICY = replace(
    DEFAULT_POLICY, guardrails=tuple(replace(each, dry_run=dry) for dry in (False, True) for each in EVERY_MODEL)
)
# Two generations have the same weight, and the last is no coin.
WEIGHTS = {1: 100, 2: 2_000, 3: 100, 4: 5_000, 5: 10_000}
LAST = 12

counts = st.integers(0, 3_000)
tallies = st.builds(
    lambda ok, errors, timeouts, bins: Tally(
        ok + errors + timeouts + sum(bins.values()),
        {Outcome.OK: ok + sum(bins.values()), Outcome.UPSTREAM_ERROR: errors, Outcome.TIMEOUT: timeouts},
        0,
        bins,
    ),
    counts,
    st.integers(0, 200),
    st.integers(0, 50),
    st.dictionaries(st.integers(400, 700), st.integers(1, 300), max_size=4),
)
rows = st.lists(
    st.builds(
        lambda second, generation, version, tally: TallyRow(
            TallyKey(START + second, ModelName("fraud"), generation, version), tally, 1
        ),
        st.integers(0, LAST),
        st.sampled_from(sorted(WEIGHTS)),
        st.sampled_from([STABLE, CANARY]),
        tallies,
    ),
    max_size=30,
    unique_by=lambda each: each.key,
)


def judged(drawn: list[TallyRow], read_at: list[int]) -> tuple[Evidence, Assessment]:
    """What is seen of the rows by somebody who looks at these seconds."""
    evidence = Evidence.begin(STABLE, CANARY, slow_limits(POLICY), HISTORY, START)
    for second in read_at:
        through = START + second
        evidence = absorb(
            evidence, [row for row in drawn if row.key.second <= through], WEIGHTS, Watermark(through, through)
        )
    return evidence, assess(evidence, POLICY)


def parted(counted: Mapping[_K, int], share: int) -> tuple[dict[_K, int], dict[_K, int]]:
    return {key: n * share // 10 for key, n in counted.items()}, {
        key: n - n * share // 10 for key, n in counted.items()
    }


def of_two_replicas(row: TallyRow, share: int) -> list[TallyRow]:
    """The row as two replicas would have counted it."""
    outcomes_, bins = parted(row.tally.outcomes, share), parted(row.tally.latency_bins, share)
    return [
        replace(row, tally=Tally(sum(part.values()), part, 0, {key: n for key, n in of_bins.items() if n}))
        for part, of_bins in zip(outcomes_, bins, strict=True)
    ]


@given(rows, st.integers(0, 10), st.data())
def test_rows_of_any_replicas_in_any_order_read_in_any_pieces_give_the_same_bits(
    drawn: list[TallyRow], share: int, data: st.DataObject
) -> None:
    as_one = judged(drawn, [LAST])
    replicas = [part for row in drawn for part in of_two_replicas(row, share)]
    shuffled = data.draw(st.permutations(replicas))
    pieces = sorted(data.draw(st.sets(st.integers(0, LAST - 1), max_size=3)))
    in_pieces = judged(shuffled, [*pieces, LAST])
    assert in_pieces[0].by_weight == as_one[0].by_weight
    assert in_pieces[1].findings == as_one[1].findings
    assert in_pieces[1].log_e == as_one[1].log_e
    assert in_pieces[1].excess_bound == as_one[1].excess_bound


@given(rows)
def test_the_order_in_which_weights_were_first_seen_does_not_show_in_the_bits(drawn: list[TallyRow]) -> None:
    evidence, seen = judged(drawn, [LAST])
    turned = replace(evidence, by_weight=dict(reversed(list(evidence.by_weight.items()))))
    assert assess(turned, POLICY) == seen
