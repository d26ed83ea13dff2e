"""Every relayed answer has a receipt that says who answered, and only a coin's choice is evidence."""

import time
from dataclasses import replace

import pytest
from fakes.upstream_server import ok, upstream

from app.domain.catalog import ModelName, VersionName
from app.domain.declared import SliceKey
from app.domain.receipt import Forged, Receipt, ReceiptKey, Signer, opened, packed_slices
from app.proxy import Gateway
from app.proxy.limits import Limits
from proxy.serving import routed, serving, table_of
from proxy.talking import Answer, get, talking

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
