"""One gateway's feedback for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.store.database import Database
from feedback.feedback_client import FeedbackClient, feedback_client, register


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[FeedbackClient]:
    await register(database)
    async with feedback_client(database, tmp_path) as made:
        yield made
