"""Reads of recalls: as events, in figures, and as lists to work through.

Rule: a list is read page by page, each in a transaction of its own, and never held whole.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from app.actions.context import Means
from app.domain.catalog.models import ModelName
from app.store.rollouts import recalls
from app.store.rollouts.recalls import Recall, RecalledAnswer, RecallId
from app.store.routing import replicas

PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class CountedRecall:
    """A recall in figures.

    Attributes:
        answered, failed, listed: See `recalls.Counted`.
        arriving: Whether gateway processes may still add rows.
    """

    recall: Recall
    answered: int
    failed: int
    listed: int
    arriving: bool


@dataclass(frozen=True, slots=True)
class RecalledAnswers:
    """A recall's list: its first page, and the others as they are asked for."""

    recall: Recall
    pages: AsyncIterator[tuple[RecalledAnswer, ...]]


async def made_recalls(
    means: Means, *, model: ModelName | None, limit: int, after: RecallId | None
) -> tuple[Recall, ...]:
    """Recalls, the oldest first; `after` continues a list."""
    async with means.database.transaction() as tx:
        return await recalls.made(tx, model=model, limit=limit, after=after)


async def counted_recall(means: Means, recall_id: RecallId) -> CountedRecall:
    """Raises: UnknownRecall."""
    async with means.database.transaction() as tx:
        recall = await recalls.recall(tx, recall_id)
        final = await replicas.watermark(tx)
        arriving = final is None or final.status < recall.until_s
        return CountedRecall(recall, *await recalls.counted(tx, recall), arriving)


async def recalled_answers(means: Means, recall_id: RecallId) -> RecalledAnswers:
    """A recall's list, its first page read already. Raises: UnknownRecall."""
    async with means.database.transaction() as tx:
        recall = await recalls.recall(tx, recall_id)
        first = await recalls.answers(tx, recall, limit=PAGE)
    return RecalledAnswers(recall, _pages(means, recall, first))


async def _pages(
    means: Means, recall: Recall, first: tuple[RecalledAnswer, ...]
) -> AsyncIterator[tuple[RecalledAnswer, ...]]:
    page = first
    yield page
    while len(page) == PAGE:
        async with means.database.transaction() as tx:
            page = await recalls.answers(tx, recall, limit=PAGE, after=page[-1].place)
        yield page
