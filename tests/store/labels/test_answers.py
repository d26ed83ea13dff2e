"""Answers are found by their names, each by its own index, also on a day that Postgres knows nothing about yet."""

from secrets import token_hex

import pytest
from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import NamedBy
from app.domain.evidence.observed import AnsweredRow
from app.store.labels import answers
from app.store.labels.answers import Name
from app.store.pg import partitions
from app.store.pg.database import Database

FRAUD, OTHER, V1 = ModelName("fraud"), ModelName("other"), VersionName("v1")


def answered(request_id: str | None = None, client_key: str | None = None) -> AnsweredRow:
    exchange = token_hex(16)
    return AnsweredRow(1_700_000_000, exchange, FRAUD, V1, 1, True, request_id or exchange, client_key, 200)


async def test_each_name_leads_to_its_exchange_and_one_of_two_to_none(database: Database) -> None:
    own, chosen, keyed = answered(), answered("order-1"), answered(client_key="key-1")
    twice = [answered("order-2", "key-2") for _ in range(3)]
    as_another = answered(own.exchange)
    names = {
        Name(FRAUD, NamedBy.EXCHANGE, own.exchange): own,
        Name(FRAUD, NamedBy.REQUEST_ID, own.exchange): own,
        Name(FRAUD, NamedBy.REQUEST_ID, "order-1"): chosen,
        Name(FRAUD, NamedBy.CLIENT_KEY, "key-1"): keyed,
        Name(FRAUD, NamedBy.REQUEST_ID, "order-2"): None,
        Name(FRAUD, NamedBy.CLIENT_KEY, "key-2"): None,
    }
    unknown = [Name(OTHER, kind, own.exchange) for kind in NamedBy] + [Name(FRAUD, NamedBy.REQUEST_ID, "order-3")]
    async with database.transaction() as tx:
        await answers.add(tx, [own, chosen, keyed, *twice, as_another])
        found = await answers.find(tx, [*names, *unknown])
    assert {name: known and known.exchange.id for name, known in found.items()} == {
        name: row and row.exchange for name, row in names.items()
    }


@pytest.mark.parametrize(
    ("named_by", "index"),
    [
        (NamedBy.EXCHANGE, "pkey"),
        (NamedBy.REQUEST_ID, "model_request_id_idx"),
        (NamedBy.CLIENT_KEY, "model_client_key_idx"),
    ],
)
async def test_a_name_is_looked_up_by_its_own_index_before_there_are_statistics(
    database: Database, named_by: NamedBy, index: str
) -> None:
    async with database.transaction() as tx:
        await partitions.ensure_partitions(tx)
        explained = text(f"EXPLAIN {answers._FIND[named_by].text}")
        plan = list(await tx.scalars(explained, {"models": [FRAUD] * 100, "handles": [token_hex(16)] * 100}))
    scans = [line.split(" on ")[0] for line in plan if "Scan" in line and "Index" in line]
    assert scans
    assert all(index in scan for scan in scans), "\n".join(plan)
