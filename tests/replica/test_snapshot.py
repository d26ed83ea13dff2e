"""The routing table on disk: whole, checked, private, and the one before when the last is no good."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from app.domain.catalog.models import Model, ModelName, Observation, Protocol, Version, VersionName
from app.domain.catalog.routing import EMPTY_TABLE, Mirror, Route, RoutedModel, RoutingTable
from app.replica.snapshot import NAME, PREVIOUS, SCHEMA, Snapshot

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")


def table(revision: int) -> RoutingTable:
    """Everything a table can hold."""
    model = Model(FRAUD, sticky_header="x-user", protocol=Protocol.OIP_V2, observation=Observation("/a", "/b", 50))
    route = Route(FRAUD, 4, V1, {V1: 9_900, V2: 100}, 20_000, Mirror(V2, 5), bytes(range(240, 256)), 3)
    versions = tuple(Version(FRAUD, name, ("http://127.0.0.1:9000", "http://[::1]:9")) for name in (V1, V2))
    return RoutingTable(revision, (RoutedModel(model, route, versions),))


def test_what_was_saved_is_loaded_salts_included(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "state")
    for saved in (EMPTY_TABLE, table(1), table(2)):
        snapshot.save(saved)
        assert snapshot.load() == saved


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path)
    snapshot.save(table(1))
    snapshot.save(table(2))
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {NAME: 0o600, PREVIOUS: 0o600}


def test_without_a_file_there_is_no_table(tmp_path: Path) -> None:
    assert Snapshot(tmp_path / "nowhere").load() is None


def test_the_one_before_is_kept_also_when_the_same_is_saved_twice(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path)
    for revision in (1, 2, 2):
        snapshot.save(table(revision))
    (tmp_path / NAME).unlink()
    assert snapshot.load() == table(1)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "no_json", "no_object", "other"])
def test_a_damaged_file_is_refused_for_the_one_before(tmp_path: Path, damage: str) -> None:
    snapshot = Snapshot(tmp_path)
    snapshot.save(table(1))
    snapshot.save(table(2))
    path = tmp_path / NAME
    content = path.read_bytes()
    damaged = {
        "cut": content[:-40],
        "flip": content.replace(b"9900", b"9901"),
        "empty": b"",
        "no_json": b"\xff\xfe",
        "no_object": b"[]",
        "other": orjson.dumps({"schema": SCHEMA, "sha256": 5, "body": None}),
    }[damage]
    assert damaged != content
    path.write_bytes(damaged)
    assert snapshot.load() == table(1)
    (tmp_path / PREVIOUS).write_bytes(damaged)
    assert snapshot.load() is None


def test_a_newer_schema_is_refused_however_sound_it_looks(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path)
    snapshot.save(table(1))
    document = orjson.loads((tmp_path / NAME).read_bytes())
    (tmp_path / NAME).write_bytes(orjson.dumps({**document, "schema": SCHEMA + 1}))
    assert snapshot.load() is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder belongs")
    snapshot = Snapshot(tmp_path / "state")
    snapshot.save(table(1))
    snapshot.save(replace(table(1), revision=2))
    assert snapshot.load() is None
