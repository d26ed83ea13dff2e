"""One gateway's feedback for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from feedback.feedback_client import ANN, SOURCES, FeedbackClient, feedback_client, register

from app.store.pg.database import Database


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[FeedbackClient]:
    await register(database)
    async with feedback_client(database, tmp_path) as made:
        yield made


@pytest.fixture
async def ann(database: Database, tmp_path: Path) -> AsyncIterator[FeedbackClient]:
    """A source with a key."""
    await register(database)
    async with feedback_client(database, tmp_path, feedback_keys=SOURCES, token=ANN) as made:
        yield made
