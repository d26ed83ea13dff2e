"""Names that feedback calls exchanges by: none is taken in advance, by guessing, or from another client."""

from pathlib import Path
from secrets import token_hex

import pytest
from feedback.feedback_client import (
    ANN,
    FRAUD,
    GATEWAY,
    KEY,
    SOURCES,
    Exchange,
    FeedbackClient,
    feedback_client,
    register,
)
from feedback.test_parked import aged

from app.domain.catalog.models import ModelName
from app.domain.catalog.receipt import ReceiptKey
from app.domain.evidence.labels import Named, NamedBy
from app.feedback.items import UNKNOWN
from app.proxy.http1.receipts import Receipts
from app.store.labels import pending
from app.store.pg.database import Database


def by_id(name: str, label: int = 1, **more: object) -> dict[str, object]:
    return {"model": FRAUD, "request_id": name, "label": label, **more}


def by_key(name: str, label: int = 1, **more: object) -> dict[str, object]:
    return {"model": FRAUD, "client_key": name, "label": label, **more}


def ahead() -> list[str]:
    """The ids that this process will give next, as only a thief of its key could know them."""
    batch = GATEWAY._batch + 1
    return [each.decode() for each in GATEWAY._ids.batch(batch)[:5]]


async def later(client: FeedbackClient) -> None:
    """After a client's name has waited as long as it has to."""
    await aged(client, 4)
    await client.desk.intake.sweep()


async def test_without_a_key_no_name_is_taken_that_was_given_to_no_exchange(client: FeedbackClient) -> None:
    GATEWAY.new_exchange()
    foreign = Receipts(ReceiptKey.of(b"another secret of the tests, long")).new_exchange().decode()
    known = Exchange(chosen="order-7", client_key="key-7")
    await client.written(known)
    names = [*ahead(), foreign, token_hex(16), "order-8", known.id.upper(), "order-7"]
    told = (await client.give(*map(by_id, names), by_key("key-7"), by_key("key-8")))["items"]
    # What is there and what is not, what a client chose and what nobody did: one answer to all.
    assert {(each["result"], each["reason"]) for each in told} == {("unknown", UNKNOWN)}
    assert (await client.kept(), await client.count("parked_labels")) == ({}, 0)
    assert client.figures()["turnback_feedback_total", FRAUD, "unknown"] == len(told)


async def test_an_id_that_was_given_waits_for_its_row_whichever_process_gave_it(client: FeedbackClient) -> None:
    here, elsewhere = Exchange(), Exchange(id=Receipts(KEY).new_exchange().decode())
    assert await client.results(by_id(here.id), by_id(elsewhere.id)) == ["pending"] * 2
    await client.written(here, elsewhere)
    await client.desk.intake.sweep()
    assert {exchange for exchange, _, _ in await client.kept()} == {here.id, elsewhere.id}


async def test_with_a_key_a_clients_name_is_joined_once_all_rows_before_it_are_written(ann: FeedbackClient) -> None:
    about = Exchange(chosen="order-7", client_key="key-7")
    await ann.written(about)
    assert await ann.results(by_id("order-7", 1), by_key("key-7", 1)) == ["pending"] * 2
    await ann.desk.intake.sweep()
    assert await ann.kept() == {}
    await later(ann)
    assert await ann.kept() == {(about.id, "accuracy", "ann"): [1]}


async def test_a_correction_by_a_clients_name_goes_where_its_label_went(ann: FeedbackClient) -> None:
    about = Exchange(client_key="key-7")
    await ann.written(about)
    assert await ann.results(by_key("key-7", 1), by_key("key-7", 0, supersedes=1)) == ["pending"] * 2
    await later(ann)
    assert await ann.results(by_key("key-7", 2, supersedes=2)) == ["joined"]
    assert await ann.kept() == {(about.id, "accuracy", "ann"): [1, 0, 2]}


@pytest.mark.parametrize("named_by", ["chosen", "client_key"])
@pytest.mark.parametrize("victim_first", [True, False])
async def test_a_name_that_two_clients_chose_leads_to_neither(
    ann: FeedbackClient, named_by: str, victim_first: bool
) -> None:
    victim, thief = (Exchange(chosen="r", client_key="r") for _ in range(2))
    (victim if victim_first else thief).second -= 100
    await ann.written(victim, thief)
    item = by_id("r") if named_by == "chosen" else by_key("r")
    (told,) = (await ann.give(item))["items"]
    assert (told["result"], told["reason"]) == ("invalid", pending.AMBIGUOUS.reason)
    assert (await ann.kept(), await ann.count("parked_labels")) == ({}, 0)


async def test_who_claims_a_name_before_its_client_has_used_it_gets_no_label(ann: FeedbackClient) -> None:
    thief, victim = Exchange(chosen="order-7"), Exchange(chosen="order-7")
    await ann.written(thief)
    # The victim's answer has been given; its row is not written yet.
    assert await ann.results(by_id("order-7")) == ["pending"]
    await ann.desk.intake.sweep()
    await ann.written(victim)
    await later(ann)
    assert (await ann.kept(), await ann.count("parked_labels")) == ({}, 0)
    assert ann.figures()["turnback_feedback_total", FRAUD, "invalid"] == 1


async def test_who_uses_a_name_after_its_label_was_joined_changes_nothing(ann: FeedbackClient) -> None:
    victim, thief = Exchange(chosen="order-7"), Exchange(chosen="order-7")
    await ann.written(victim)
    await ann.give(by_id("order-7"))
    await later(ann)
    await ann.written(thief)
    assert await ann.results(by_id("order-7", 0, supersedes=1)) == ["invalid"]
    assert await ann.kept() == {(victim.id, "accuracy", "ann"): [1]}


async def test_who_sends_an_exchanges_own_id_as_his_gets_no_label_of_it(database: Database, tmp_path: Path) -> None:
    await register(database)
    for folder, token in (("open", None), ("keys", ANN)):
        keys = SOURCES if token else None
        async with feedback_client(database, tmp_path / folder, feedback_keys=keys, token=token) as client:
            victim = Exchange()
            thief = Exchange(chosen=victim.id)
            await client.written(thief)
            assert await client.results(by_id(victim.id)) == ["pending"]
            await later(client)
            await client.written(victim)
            await client.desk.intake.sweep()
            wanted = (victim.id, "accuracy", "ann" if token else "anonymous")
            assert wanted in await client.kept()
            assert thief.id not in {exchange for exchange, _, _ in await client.kept()}


async def test_an_id_of_a_secret_that_is_forgotten_needs_a_key_and_is_the_exchanges_own(ann: FeedbackClient) -> None:
    old = Exchange(id=token_hex(16))
    thief = Exchange(chosen=old.id)
    await ann.written(thief, old)
    await ann.give(by_id(old.id))
    await later(ann)
    assert set(await ann.kept()) == {(old.id, "accuracy", "ann")}


async def test_a_label_waits_for_an_exchange_of_its_model_only(client: FeedbackClient) -> None:
    about = Exchange(model=ModelName("plain"))
    await client.written(about)
    assert await client.results(by_id(about.id)) == ["pending"]
    await client.desk.intake.sweep()
    assert await client.kept() == {}


# ---------------------------------------------------------------------- places


async def test_without_a_key_an_exchange_has_one_place_by_metric(client: FeedbackClient) -> None:
    about = Exchange()
    assert await client.results(
        by_id(about.id),
        by_id(about.id, 0, supersedes=1),
        by_id(about.id, 0, supersedes=7),
        by_id(about.id, 0),
        {**by_id(about.id), "metric": "error"},
    ) == ["pending", "invalid", "invalid", "duplicate", "pending"]
    assert await client.count("parked_labels") == 2


async def test_nobody_without_a_key_keeps_the_others_out(
    client: FeedbackClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "WAITING_MAX", 20)
    # Answers of which no row comes: a stranger's own, that were cut or were another model's.
    crowd = [Exchange() for _ in range(50)]
    for each in crowd:
        assert await client.results(by_id(each.id)) == ["pending"]
    assert await client.count("parked_labels") == 20
    honest = [Exchange() for _ in range(10)]
    assert set(await client.results(*(by_id(each.id) for each in honest))) == {"pending"}
    await client.written(*honest)
    await client.desk.intake.sweep()
    assert {exchange for exchange, _, _ in await client.kept()} == {each.id for each in honest}
    assert await client.count("parked_labels") == 10
    assert client.figures()["turnback_feedback_total", FRAUD, "orphan"] == 40


async def test_what_an_older_release_left_on_the_disk_without_a_key_obeys_the_same_rules(
    client: FeedbackClient,
) -> None:
    about = Exchange(chosen="order-7")
    await client.written(about)
    kept = client.desk.intake._reader.read(by_id(Exchange().id), "anonymous", client.desk.intake._now())
    assert isinstance(kept, Named)
    old = Named(FRAUD, NamedBy.REQUEST_ID, "order-7", kept.label)
    client.desk.intake._spool.append([old, kept], "anonymous")
    await client.desk.intake.drain()
    await later(client)
    assert (await client.kept(), await client.count("parked_labels")) == ({}, 1)
