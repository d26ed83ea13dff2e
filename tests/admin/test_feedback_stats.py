"""Labels counted on the admin port: by who gave them, by version, with coverage and lag."""

import uuid
from datetime import UTC, datetime, timedelta

from admin.admin_client import admin_client
from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import Attributed, Exchange, Label, Named, NamedBy
from app.domain.evidence.tally import Tally, TallyKey, TallyRow
from app.store.evidence import tallies
from app.store.labels import labels, pending
from app.store.pg.database import Database

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")


def label(about: Exchange, source: str, *, lag_s: float, supersedes: int | None = None) -> Attributed:
    received_at = datetime.fromtimestamp(about.second, UTC) + timedelta(seconds=lag_s)
    given = Label("accuracy", source, f"{supersedes}", None, received_at, supersedes)
    return Attributed(about, given)


async def filled(database: Database) -> None:
    async with database.transaction() as tx:
        second = int(await tx.scalar(text("SELECT extract(epoch FROM clock_timestamp())::bigint - 600")) or 0)
        about = [Exchange(uuid.uuid4().hex, second, FRAUD, V1, 1) for _ in range(3)]
        other = Exchange(uuid.uuid4().hex, second, FRAUD, V2, 1)
        forced = Exchange(uuid.uuid4().hex, second, FRAUD, V2, 0)
        old = Exchange(uuid.uuid4().hex, second - 90_000, FRAUD, V1, 1)
        rows = [
            TallyRow(TallyKey(second, FRAUD, 1, version), Tally(drawn), 1) for version, drawn in ((V1, 10), (V2, 4))
        ]
        await tallies.upsert(tx, str(uuid.uuid4()), rows)
        await labels.add(
            tx,
            [
                *(label(each, "ann", lag_s=lag_s) for each, lag_s in zip(about, (10, 20, 300), strict=True)),
                label(about[0], "ann", lag_s=400, supersedes=1),
                label(about[0], "bob", lag_s=5),
                label(other, "bob", lag_s=50),
                label(forced, "bob", lag_s=1),
                label(old, "ann", lag_s=1),
            ],
        )
        waits = Label("accuracy", "ann", "1", None, datetime.now(UTC))
        await pending.park(tx, [Named(FRAUD, NamedBy.REQUEST_ID, "r", waits)], room=1)


async def test_labels_are_counted_by_source_and_version_with_coverage_and_lag(database: Database) -> None:
    async with admin_client(database) as admin:
        await admin.model("fraud", "v1", "v2")
        await filled(database)
        told = await admin.ok("GET", "/v1/models/fraud/feedback")
        assert [tuple(each.values()) for each in told["counted"]] == [
            ("accuracy", "ann", "v1", 3, 1),
            ("accuracy", "bob", "v1", 1, 0),
            ("accuracy", "bob", "v2", 2, 0),
        ]
        assert [tuple(each.values()) for each in told["coverage"]] == [
            ("accuracy", "v1", 10, 3, 0.3, 20.0, 272.0),
            ("accuracy", "v2", 4, 1, 0.25, 50.0, 50.0),
        ]
        assert told["waiting"] == 1
        older = await admin.ok("GET", "/v1/models/fraud/feedback", hours=48)
        assert older["counted"][0]["labels"] == 4


async def test_a_model_without_labels_has_none_and_nobodys_is_a_404(database: Database) -> None:
    async with admin_client(database) as admin:
        await admin.model("fraud", "v1")
        told = await admin.ok("GET", "/v1/models/fraud/feedback")
        assert (told["counted"], told["coverage"], told["waiting"]) == ([], [], 0)
        await admin.problem(404, "GET", "/v1/models/nobody/feedback")
        await admin.problem(422, "GET", "/v1/models/fraud/feedback?hours=0")
