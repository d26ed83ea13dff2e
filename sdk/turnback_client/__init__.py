"""Client of a Turnback gateway: answers with receipts, and labels that bring them back."""

from turnback_client.answer import Answer
from turnback_client.async_client import AsyncBatch, AsyncPrediction, AsyncTurnback
from turnback_client.client import Batch, Prediction, Turnback
from turnback_client.errors import LabelRefused, NotTaken, TurnbackClientError
from turnback_client.item import LabelValue
from turnback_client.outcome import Outcome, Problem

__all__ = [
    "Answer",
    "AsyncBatch",
    "AsyncPrediction",
    "AsyncTurnback",
    "Batch",
    "LabelRefused",
    "LabelValue",
    "NotTaken",
    "Outcome",
    "Prediction",
    "Problem",
    "Turnback",
    "TurnbackClientError",
]
