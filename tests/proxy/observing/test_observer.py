"""What is read of exchanges when nobody waits: slices, features, measures, and a row per answer."""

import gzip
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import pytest
from fakes.upstream_server import ok, upstream
from hypothesis import given
from hypothesis import strategies as st
from proxy.answering import V1, text
from proxy.responses.test_streams import CHAT
from proxy.serving import serving, table_of
from proxy.talking import get, post, talking
from proxy.upstream.test_upstream_faults import refusing
from proxy.watching import FORCED, READ_ALL, Postgres, declared, watching

from app.domain.catalog.declarations import (
    Credentials,
    Feature,
    Feedback,
    Prices,
    QualityKind,
    QualityMetric,
    RowsKept,
    SliceKey,
)
from app.domain.catalog.models import ModelName, Observation, VersionName
from app.domain.catalog.receipt import opened
from app.domain.evidence.observed import (
    COST,
    MEGABYTES,
    PROMPT_TOKENS,
    SECONDS,
    AnsweredRow,
    Flaw,
    ObservedFlush,
    SliceCounts,
)
from app.domain.stats.histogram import OTHER, histogram_of
from app.proxy import Gateway
from app.proxy.observing.histogram_row import HistogramCell
from app.proxy.observing.pending import ANSWERS_MAX, MERGE_ABOVE, ROWS_PER_FLUSH, WaitingRows
from app.proxy.observing.slices import SliceReader

FRAUD, V = ModelName("fraud"), VersionName("v1")
YES = ok(text({"predictions": ["yes"]}))
LABELS = Feedback((QualityMetric("accuracy", QualityKind.ACCURACY),))
SLICED = {
    "observation": READ_ALL,
    "slices": (SliceKey("tier", header="X-Tier"), SliceKey("country", pointer="/where/0/country")),
}


def sliced(**of: Mapping[str, int]) -> Mapping[str, Mapping[str, SliceCounts]]:
    """Good answers that were read, by slice."""
    return {key: {value: SliceCounts(n, 0, n, 0) for value, n in values.items()} for key, values in of.items()}


# ---------------------------------------------------------------------- slices and features


async def test_slices_are_told_by_field_and_by_body() -> None:
    body = text({"where": [{"country": "NO"}]})
    async with watching(YES, SLICED) as world:
        await world.talk.ask(post(body, V1, "x-tier: gold"))
        await world.talk.ask(post(body, V1, "X-TIER:  gold\t"))
        await world.talk.ask(post(text({"where": [{"country": 7}]}), V1))
        assert world.read().of().slices == sliced(tier={"gold": 2, "unknown": 1}, country={"NO": 2, "7": 1})


@pytest.mark.parametrize(
    ("value", "slice_"),
    [
        ('"NO"', "NO"),
        ('"' + "x" * 100 + '"', "x" * 64),
        ('"a\\u0000\\nb"', "ab"),
        ('""', "unknown"),
        ("true", "true"),
        ("3.0", "3"),
        ("3", "3"),
        ("0.1", "0.1"),
        ("9" * 400, "9" * 64),
        ("NaN", "nan"),
        ("null", "unknown"),
        ('["NO"]', "unknown"),
        ('"\\ud800"', "unknown"),
    ],
)
async def test_every_value_of_a_body_is_one_short_slice(value: str, slice_: str) -> None:
    async with watching(YES, SLICED) as world:
        # Some of these only Python takes for JSON, and Python's clients send them.
        await world.talk.ask(post(f'{{"where": [{{"country": {value}}}], "x": NaN}}'.encode(), V1))
        assert world.read().of().slices["country"] == {slice_: (1, 0, 1, 0)}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"not JSON", ()),
        (b'{"where": [{"country": "NO"}]}' + b" " * 70_000, ()),
        (gzip.compress(b'{"where": [{"country": "NO"}]}')[:-9], ("content-encoding: gzip",)),
        (b'{"where": [{"country": "NO"}]}', ("content-encoding: br",)),
    ],
    ids=["no JSON", "more than is held", "damaged", "in an unknown coding"],
)
async def test_a_body_that_cannot_be_read_is_in_a_slice_of_its_own_and_lacks_every_feature(
    body: bytes, fields: tuple[str, ...]
) -> None:
    coded = "content-encoding: br" in fields
    body = body[::-1] if coded else body
    async with watching(YES, {**SLICED, "features": (Feature("x", "/x"),)}) as world:
        await world.talk.ask(post(body, V1, *fields))
        postgres = world.read()
    assert postgres.of().slices == sliced(tier={"unknown": 1}, country={"unknown": 1})
    assert postgres.spread_of().features == {"x": histogram_of([None])}


async def test_bodies_in_chunks_compressed_or_with_tensors_behind_them_are_looked_into() -> None:
    body = text({"where": [{"country": "NO"}]})
    chunked = get(V1, "transfer-encoding: chunked", method="POST") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with watching(YES, SLICED) as world:
        await world.talk.ask(chunked)
        await world.talk.ask(post(gzip.compress(body), V1, "content-encoding: gzip"))
        await world.talk.ask(post(body + bytes(range(256)), V1, f"inference-header-content-length: {len(body)}"))
        assert world.read().of().slices["country"] == {"NO": (3, 0, 3, 0)}


async def test_a_million_values_are_counted_as_those_told_apart_and_one_more() -> None:
    keys = (SliceKey("tier", header="x-tier", values_max=3),)
    async with watching(YES, {"observation": READ_ALL, "slices": keys}) as world:
        for value in ("a", "b", "a", "c", "d", "e", "a"):
            await world.talk.ask(post(b"{}", V1, f"x-tier: {value}"))
        assert world.read().of().slices == sliced(tier={"a": 3, "b": 1, "c": 1, OTHER: 2})
    known: dict[str, set[str]] = {}
    reader = SliceReader(keys, known)
    assert {reader.bounded({"tier": str(n)})["tier"] for n in range(1_000_000)} == {"0", "1", "2", OTHER}
    assert known == {"tier": {"0", "1", "2"}}


async def test_a_new_table_tells_the_same_values_apart() -> None:
    model = {"observation": READ_ALL, "slices": (SliceKey("tier", header="x-tier", values_max=1),)}
    async with watching(YES, model) as world:
        await world.talk.ask(post(b"{}", V1, "x-tier: a"))
        world.gateway.swap(table_of(declared({"v1": world.servers["v1"].url}, model, generation=2), revision=2))
        await world.talk.ask(post(b"{}", V1, "x-tier: b"))
        assert world.read().of().slices == sliced(tier={"a": 1, OTHER: 1})


async def test_features_and_the_first_prediction_are_distributions() -> None:
    features = (Feature("amount", "/rows/0/0"), Feature("kind", "/kind"), Feature("none", "/none"))
    answer = ok(text({"predictions": ["no", "yes"]}))
    async with watching(answer, {"features": features}) as world:
        for amount, kind in ((1.5, "a"), (2, "b\n"), (None, True), ([3.5, 9], "a")):
            await world.talk.ask(post(text({"rows": [[amount]], "kind": kind}), V1))
        await world.talk.ask(post(b'{"rows": [[NaN]]}', V1))
        await world.talk.ask(get("/v2/models/fraud/ready"))
        spread = world.read().spread_of()
    assert spread.predictions == histogram_of(["no"] * 5)
    assert spread.features == {
        "amount": histogram_of([1.5, 2.0, None, 3.5, float("nan")]),
        "kind": histogram_of(["a", "b", "true", "a", None]),
        "none": histogram_of([None] * 5),
    }


async def test_a_missing_prediction_is_counted_where_one_belongs() -> None:
    for answer in (b'{"predictions": []}', b"oops"):
        async with watching(ok(answer), {"observation": READ_ALL}) as world:
            await world.talk.ask(post(path=V1))
            assert world.read().spread_of().predictions == histogram_of([None])


@given(
    st.lists(
        st.none() | st.sampled_from(["a", "b", "other"]) | st.floats() | st.integers(-5, 5).map(float), max_size=700
    ),
    st.lists(st.integers(0, 700), max_size=5),
)
def test_a_growing_distribution_is_the_histogram_of_all_values_whenever_it_is_asked(
    values: list[float | str | None], asked: list[int]
) -> None:
    cell = HistogramCell()
    for place, value in enumerate(values):
        if place in asked:
            assert cell.histogram() == histogram_of(values[:place])
        cell.add(value)
    assert cell.histogram() == histogram_of(values)


def test_a_distribution_of_ever_new_texts_is_bounded() -> None:
    cell = HistogramCell()
    for n in range(10_000):
        cell.add(str(n % 5_000))
    assert cell.histogram().n == 10_000
    assert len(cell.histogram().labels) <= 33


# ---------------------------------------------------------------------- measures


async def test_an_answer_costs_what_its_version_s_prices_say_at_most_the_cap() -> None:
    answer = ok(
        text({"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 500, "completion_tokens": 4}})
    )
    size = len(answer.partition(b"\r\n\r\n")[2])
    prices = Prices(1.0, 0.0, 10.0, 2.0, 500.0, cap=100.0)
    for cap, cost in ((100.0, 1.0 + 10.0 * size / 1e6 + 1.0 + 2.0), (2.5, 2.5)):
        async with watching(answer, {}, Credentials(prices=replace(prices, cap=cap))) as world:
            await world.talk.ask(post(path="/m/fraud" + CHAT))
            measures = world.read().of().measures
        assert measures[COST].n == 1
        assert measures[COST].total == pytest.approx(cost)
        assert measures[COST].squares == pytest.approx(cost**2)
        assert measures[MEGABYTES].total == pytest.approx(size / 1e6)
        assert (measures[PROMPT_TOKENS], measures[SECONDS].n) == ((1, 500.0, 250_000.0), 1)


async def test_an_answer_that_failed_has_no_measures() -> None:
    async with watching(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", {"observation": READ_ALL}) as world:
        await world.talk.ask(post(path=V1))
        observed = world.read().of()
    assert (observed.judged, observed.bad, observed.read, dict(observed.measures)) == (1, 1, 0, {})


# ---------------------------------------------------------------------- rows


async def test_every_answer_of_a_version_on_trial_has_a_row_and_stable_s_have_none() -> None:
    coins = iter([0.0, 0.9, 0.9])
    async with upstream(YES) as server:
        gateway = Gateway(lambda: 1_000.25, coin=lambda: next(coins))
        gateway.swap(
            table_of(declared({"v1": server.url, "v2": server.url}, {}, weights_bp={"v1": 5_000, "v2": 5_000}))
        )
        async with serving(gateway) as port, talking(port) as talk:
            answers = [await talk.ask(post(path=V1)) for _ in range(3)]
        postgres = Postgres()
        postgres.push(gateway)
        key = gateway.receipts.key
    receipts = [opened(answer.field("x-turnback-receipt") or "", [key]) for answer in answers]
    assert [receipt.version for receipt in receipts] == ["v1", "v2", "v2"]
    assert set(postgres.answers) == {receipt.exchange for receipt in receipts[1:]}
    for answer, receipt in zip(answers[1:], receipts[1:], strict=True):
        row = postgres.answers[receipt.exchange]
        assert (row.second, row.generation, row.status) == (receipt.second, receipt.generation, 200)
        assert row.request_id == answer.field("x-request-id")
        # Nobody declared an interest in what this model says.
        assert (row.predictions, row.slices) == ((), {})
    assert postgres.observed == {}


async def test_a_row_has_what_was_predicted_and_the_client_s_own_key() -> None:
    feedback = replace(LABELS, client_key_header="X-Order")
    answer = ok(b'{"predictions": [{"label": "a\\u0000b", "score": 0.5}, {"label": "c", "score": NaN}, NaN]}')
    async with watching(answer, {"feedback": feedback}) as world:
        await world.talk.ask(post(b"{}", V1, "x-order: 1234"))
        await world.talk.ask(post(b"{}", V1, "x-order: " + "9" * 300))
        rows = list(world.read().answers.values())
    assert [row.client_key for row in rows] == ["1234", None]
    assert rows[0].predictions == ("ab", "c", "nan")
    assert rows[0].scores == (0.5,)
    assert rows[0].sampled


@pytest.mark.parametrize("kept", RowsKept)
async def test_of_a_model_with_feedback_the_sampled_rows_are_kept_or_all(kept: RowsKept) -> None:
    model = {"feedback": replace(LABELS, rows=kept), "observation": Observation(sample_bp=5_000)}
    coins = iter([0.1, 0.9, 0.1])
    async with watching(YES, model) as world:
        world.gateway.context.coin = lambda: next(coins)
        for _ in range(3):
            await world.talk.ask(post(path=V1))
        postgres = world.read()
    assert postgres.of().judged == 2
    rows = list(postgres.answers.values())
    assert [row.sampled for row in rows] == ([True, False, True] if kept is RowsKept.ALL else [True, True])
    assert {row.predictions for row in rows} == {("yes",)}


async def test_what_an_operator_sent_to_a_version_has_a_row_and_is_no_evidence() -> None:
    async with watching(YES, {"observation": READ_ALL}, versions=("v1", "v2")) as world:
        answer = await world.talk.ask(post(b"{}", V1, *FORCED))
        postgres = world.read()
        receipt = opened(answer.field("x-turnback-receipt") or "", [world.gateway.receipts.key])
    (row,) = postgres.answers.values()
    assert (row.version, row.generation, row.exchange) == ("v2", 0, receipt.exchange)
    assert (receipt.generation, receipt.second) == (0, row.second)
    assert postgres.observed == {}
    assert postgres.spreads == {}


async def test_a_version_that_failed_is_counted_and_the_one_that_answered_for_it_is_named() -> None:
    async with upstream(YES) as server:
        with refusing() as dead:
            gateway = Gateway(lambda: 1_000.25, coin=lambda: 0.9)
            model = {"feedback": LABELS, "slices": (SliceKey("kind", pointer="/kind"),)}
            weights = {"v1": 5_000, "v2": 5_000}
            gateway.swap(table_of(declared({"v1": server.url, "v2": dead}, model, weights_bp=weights)))
            async with serving(gateway) as port, talking(port) as talk:
                answer = await talk.ask(post(b'{"kind": "a"}', V1))
        postgres = Postgres()
        postgres.push(gateway)
        receipt = opened(answer.field("x-turnback-receipt") or "", [gateway.receipts.key])
    (row,) = postgres.answers.values()
    assert (row.version, row.generation, row.predictions) == ("v1", 0, ("yes",))
    assert (receipt.version, receipt.generation, receipt.exchange) == ("v1", 0, row.exchange)
    (canary,) = [each for key, (_, each) in postgres.observed.items() if key.version == "v2"]
    assert (canary.judged, canary.bad, canary.read) == (1, 1, 0)
    assert canary.slices == {"kind": {"a": (1, 1, 0, 0)}}
    assert postgres.of("v1").judged == 0


async def test_an_answer_to_head_has_a_receipt_and_a_row() -> None:
    async with watching(YES, {"feedback": LABELS}) as world:
        answer = await world.talk.ask(get(V1, method="HEAD"), to_head=True)
        (row,) = world.read().answers.values()
        assert opened(answer.field("x-turnback-receipt") or "", [world.gateway.receipts.key]).exchange == row.exchange


async def test_of_callers_that_stick_to_their_arm_no_exchange_is_evidence() -> None:
    model = {"observation": READ_ALL, "feedback": LABELS, "sticky_header": "x-user", "features": (Feature("x", "/x"),)}
    async with watching(YES, model) as world:
        await world.talk.ask(post(b"{}", V1, "x-user: me"))
        postgres = world.read()
    assert (len(postgres.answers), postgres.observed, postgres.spreads) == (1, {}, {})


# ---------------------------------------------------------------------- what waits


def answered(exchange: int, predictions: int = 0) -> AnsweredRow:
    return AnsweredRow(1_000, f"{exchange:032x}", FRAUD, V, 1, True, "r", None, 200, (1.0,) * predictions)


def test_of_too_many_rows_the_oldest_are_dropped_and_counted() -> None:
    rows = WaitingRows()
    for n in range(ANSWERS_MAX + 7):
        rows.keep(answered(n))
    assert rows.dropped == 7
    first = rows.flush().answers
    assert first[0].exchange == f"{7:032x}"
    # Those dropped while a flush is under way are not taken for others.
    for n in range(3):
        rows.keep(answered(ANSWERS_MAX + 7 + n))
    rows.acknowledge(ObservedFlush(answers=first), final=0)
    assert rows.flush().answers[0].exchange == f"{7 + len(first):032x}"
    assert rows.dropped == 10


def test_rows_of_large_batches_are_dropped_sooner() -> None:
    rows = WaitingRows()
    for n in range(3_000):
        rows.keep(answered(n, predictions=1_000))
    assert rows.dropped == 1_000


def test_while_postgres_is_away_counts_are_merged_and_none_is_lost() -> None:
    rows = WaitingRows()
    for second in range(4 * MERGE_ABOVE):
        for version in ("v1", "v2"):
            rows.observed.cell(second, FRAUD, 1, VersionName(version)).add(
                SliceCounts(1, 0, 1, 1), (Flaw.EMPTY,), {"a": "b"}
            )
            rows.spreads.cell(second, FRAUD, 1, VersionName(version)).predict(float(second))
    postgres = Postgres()
    while len(rows):
        flush = rows.flush()
        assert len(flush.observed) <= ROWS_PER_FLUSH
        postgres.write(flush)
        rows.acknowledge(flush, final=10**9)
    assert len(postgres.observed) < 2 * MERGE_ABOVE
    for version in ("v1", "v2"):
        observed = postgres.of(version)
        assert (observed.judged, observed.flaws) == (4 * MERGE_ABOVE, {Flaw.EMPTY: 4 * MERGE_ABOVE})
        assert observed.slices == {"a": {"b": (4 * MERGE_ABOVE, 0, 4 * MERGE_ABOVE, 4 * MERGE_ABOVE)}}
        assert postgres.spread_of(version).predictions.n == 4 * MERGE_ABOVE
    assert all(key.second % 10 == 0 for key in postgres.spreads)


def test_what_was_handed_out_is_never_merged() -> None:
    rows = WaitingRows()
    cells = [rows.observed.cell(second, FRAUD, 1, V) for second in range(3)]
    for cell in cells:
        cell.add(SliceCounts(1, 0, 0, 0), (), {})
    flush = rows.flush()
    for second in range(3, 2 * MERGE_ABOVE):
        rows.observed.cell(second, FRAUD, 1, V).add(SliceCounts(1, 0, 0, 0), (), {})
    assert [cell.key for cell in rows.observed.changed()[:3]] == [row.key for row in flush.observed]
    assert [row.observed.judged for row in islice(rows.flush().observed, 3)] == [1, 1, 1]


async def test_no_second_is_called_final_of_which_a_count_is_left_out() -> None:
    async with watching(YES, {"observation": READ_ALL}) as world:
        rows = world.gateway.observer.rows
        for second in range(999):
            for version in ("v1", "v2", "v3"):
                rows.observed.cell(second, FRAUD, 1, VersionName(version)).add(SliceCounts(1, 0, 0, 0), (), {})
        assert ROWS_PER_FLUSH == 2_000
        # 666 seconds of three versions, and two versions of the next.
        batch = world.gateway.collect()
        assert batch.tallies.watermark.status == 665
        world.gateway.acknowledge(batch)
        assert world.gateway.collect().tallies.watermark.status == 999
