"""Every relayed answer has a receipt that says who answered, and only a coin's choice is evidence."""

import time
from dataclasses import replace

import pytest
from fakes.upstream_server import ok, upstream
from hypothesis import given
from hypothesis import strategies as st
from proxy.serving import routed, serving, table_of
from proxy.talking import Answer, get, talking
from proxy.upstream.test_upstream_faults import refusing

from app.domain.catalog.declarations import SliceKey
from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.receipt import Forged, Receipt, ReceiptKey, Signer, opened, packed_slices
from app.proxy import Gateway
from app.proxy.bounds.limits import Limits
from app.proxy.downstream.own_paths import _PLAIN
from app.proxy.observing.slices import SliceReader

KEY = ReceiptKey.of(b"a secret of the tests, long enough")


def _gateway(url: str, slices: tuple[SliceKey, ...] = ()) -> Gateway:
    gateway = Gateway(time.time, limits=Limits(sweep_s=0.02), receipt_key=KEY, override_key=b"operators")
    fraud = routed({"v1": url}, generation=7)
    gateway.swap(table_of(replace(fraud, model=replace(fraud.model, slices=slices))))
    return gateway


def _receipt(answer: Answer) -> Receipt:
    token = answer.field("x-turnback-receipt")
    assert token is not None
    return opened(token, [KEY])


async def test_a_receipt_says_who_answered_when_and_under_which_weights() -> None:
    async with upstream(ok(b"yes")) as server, serving(_gateway(server.url)) as port, talking(port) as talk:
        before = int(time.time())
        receipts = [_receipt(await talk.ask(get("/m/fraud"))) for _ in range(3)]
        after = int(time.time())
    for receipt in receipts:
        assert (receipt.model, receipt.version, receipt.generation) == ("fraud", "v1", 7)
        assert before <= receipt.second <= after
        assert receipt.slices == {}
    assert len({receipt.exchange for receipt in receipts}) == 3


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Internal Server Error"])
async def test_answers_of_every_status_have_one(status: str) -> None:
    answer = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode()
    async with upstream(answer) as server, serving(_gateway(server.url)) as port, talking(port) as talk:
        got = await talk.ask(get("/m/fraud"))
    assert _receipt(got).version == "v1"


async def test_a_version_that_an_operator_chose_has_a_receipt_that_is_no_evidence() -> None:
    forced = ("x-turnback-force-version: v1", "x-turnback-override-key: operators")
    async with upstream(ok(b"yes")) as server, serving(_gateway(server.url)) as port, talking(port) as talk:
        got = await talk.ask(get("/m/fraud", *forced))
    assert _receipt(got).generation == 0


async def test_slices_in_header_fields_are_in_the_receipt() -> None:
    keys = (SliceKey("tier", header="X-Tier"), SliceKey("region", header="x-region"))
    async with upstream(ok(b"yes")) as server, serving(_gateway(server.url, keys)) as port, talking(port) as talk:
        got = await talk.ask(get("/m/fraud", "x-tier: gold: & more"))
    assert _receipt(got).slices == {"tier": "gold: & more", "region": "unknown"}


def test_whatever_is_changed_in_a_receipt_it_is_none_any_more() -> None:
    token = (
        Signer(KEY, ModelName("fraud"), VersionName("v1"), 7)
        .receipt(1_000, b"0" * 32, packed_slices({"a": "b"}))
        .decode()
    )
    assert opened(token, [ReceiptKey.of(b"another secret of the tests"), KEY]).slices == {"a": "b"}
    with pytest.raises(Forged):
        opened(token, [ReceiptKey.of(b"another secret of the tests")])
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        with pytest.raises(Forged):
            opened(changed, [KEY])
    for other in ("", ":", token[1:], token[:-1], token + "A", token.replace("v1", "v2"), "x" * 2_000, "é" * 9):
        with pytest.raises(Forged):
            opened(other, [KEY])


@given(st.dictionaries(st.sampled_from(["tier", "key-2"]), st.text(max_size=20)))
def test_a_receipt_says_any_slices_and_is_a_plain_segment_of_a_path(slices: dict[str, str]) -> None:
    signer = Signer(KEY, ModelName("fraud"), VersionName("v1"), 7)
    token = signer.receipt(1_000, b"0" * 32, packed_slices(slices))
    assert opened(token.decode(), [KEY]).slices == slices
    assert _PLAIN.fullmatch(b"/turnback/v1/feedback/" + token)


async def test_a_receipt_s_slices_are_short_plain_and_only_so_many_as_are_accepted_back() -> None:
    keys = tuple(SliceKey(f"key-{number}", header=f"x-{number}") for number in range(8))
    async with upstream(ok(b"yes")) as server, serving(_gateway(server.url, keys)) as port, talking(port) as talk:
        for value in ("\xfc" * 100, "a" * 100, "a\tb"):
            fields = (f"x-{number}: {value}" for number in range(8))
            got = await talk.ask(get("/m/fraud", *fields))
            slices = _receipt(got).slices
            assert slices
            assert all(len(said) <= 64 and said.isprintable() for said in slices.values())
            assert list(slices) == [f"key-{number}" for number in range(len(slices))]


def test_a_million_different_slices_are_packed_in_bounded_memory() -> None:
    reader = SliceReader((SliceKey("tier", header="x-tier"),), {})
    for number in range(20_000):
        assert reader.packed([b"x-tier: %d" % number]) == b"tier=%d" % number
    assert len(reader._packed.known) <= 1_024


async def test_an_upstream_s_own_receipt_does_not_cross() -> None:
    async with (
        upstream(ok(b"yes", b"x-turnback-receipt: forged")) as server,
        serving(_gateway(server.url)) as port,
        talking(port) as talk,
    ):
        assert _receipt(await talk.ask(get("/m/fraud"))).version == "v1"


async def test_a_stream_and_an_answer_without_a_body_have_one() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    stream = head + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
    for reply in (stream, b"HTTP/1.1 204 No Content\r\n\r\n"):
        async with upstream(reply) as server, serving(_gateway(server.url)) as port, talking(port) as talk:
            assert _receipt(await talk.ask(get("/m/fraud"))).generation == 7


async def test_problems_of_the_gateway_itself_have_none() -> None:
    with refusing() as url:
        async with serving(_gateway(url)) as port, talking(port) as talk:
            got = await talk.ask(get("/m/fraud"))
    assert (got.status, got.field("x-turnback-receipt")) == (502, None)


async def test_an_exchange_a_brake_kept_on_stable_has_a_receipt_that_is_no_evidence() -> None:
    async with upstream(ok(b"yes")) as server:
        with refusing() as dead:
            gateway = Gateway(time.time, coin=lambda: 0.9, receipt_key=KEY)
            gateway.swap(table_of(routed({"v1": server.url, "v2": dead}, {"v1": 5_000, "v2": 5_000}, generation=7)))
            async with serving(gateway) as port, talking(port) as talk:
                receipts = [_receipt(await talk.ask(get("/m/fraud"))) for _ in range(12)]
    assert gateway.open_brakes()
    assert {(receipt.version, receipt.generation) for receipt in receipts} == {("v1", 0)}
