"""A registered model with two versions, and the means to change it."""

import secrets

import pytest
from fakes.probe import ProbeBook

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.store.pg.database import Database
from app.upstream_allow import LOOPBACK, AllowList

FRAUD = ModelName("fraud")
V1, V2, V3 = VersionName("v1"), VersionName("v2"), VersionName("v3")


@pytest.fixture
def probes() -> ProbeBook:
    return ProbeBook()


@pytest.fixture
def means(database: Database, probes: ProbeBook) -> Means:
    return Means(database, probes, AllowList(LOOPBACK).check, secrets.token_bytes)


@pytest.fixture
async def fraud(means: Means) -> Means:
    """The means of a database that knows the model `fraud` with v1 (stable), v2 and v3."""
    await register_model(means, Model(FRAUD), actor="ann")
    for number, name in enumerate((V1, V2, V3)):
        await register_version(means, Version(FRAUD, name, (f"http://127.0.0.1:{9_000 + number}",)), actor="ann")
    return means
