# Made from async_client.py by `poe sdk`: edit that file, not this one.
"""The client for programs that wait."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

import httpx

from turnback_client.answer import Answer
from turnback_client.item import LabelValue, Said, item
from turnback_client.outcome import Outcome
from turnback_client.sending import (
    BATCH_ITEMS,
    FEEDBACK,
    INFER,
    Attempts,
    Patience,
    asked,
    body_of,
    fitting,
    headers_of,
    taken,
    written,
)


class Turnback:
    """One gateway's inference listener; safe to share between threads, as an httpx.Client is."""

    def __init__(
        self,
        base_url: str,
        *,
        feedback_key: str | None = None,
        timeout_s: float = 60.0,
        patience: Patience | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        """A client of the gateway at an address.

        Args:
            base_url: Such as http://gateway:8320.
            feedback_key: Bearer token of feedback, where the gateway wants one.
            timeout_s: Of one request.
            patience: How often labels are sent again.
            client: Used instead of an own one, and left open.
        """
        self._own = client is None
        self._client = httpx.Client(timeout=timeout_s) if client is None else client
        self._base_url = base_url.rstrip("/")
        self._headers = headers_of(feedback_key)
        self._patience = patience or Patience()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._client.close()

    def infer(
        self, model: str, payload: object, *, path: str = INFER, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask a model once.

        Args:
            model: Its name.
            payload: bytes go as they are, anything else as JSON.
            path: Any path that the gateway knows the model by; {model} stands for its name.
            headers: Sent with it; bytes want a content-type.

        Raises:
            httpx.TransportError: There was no answer.
        """
        return Answer(self._client.post(self._base_url + path.format(model=model), **asked(payload, headers)))

    def feedback(self, receipt: str | None = None, **said: Unpack[Said]) -> Outcome:
        """Send one label now; `Said` describes the arguments. Raises: ValueError, LabelRefused, NotTaken."""
        return self.send([item(receipt, **said)])

    def send(self, items: Sequence[Mapping[str, object]]) -> Outcome:
        """Send up to 10,000 labels in one request, again and again while the gateway is busy.

        Raises:
            ValueError: One of them cannot be written as JSON.
            LabelRefused: It will never take them.
            NotTaken: It took none for as long as the patience lasts.
        """
        return self.send_written([*map(written, items)])

    def send_written(self, items: Sequence[bytes]) -> Outcome:
        """As send, of items that are JSON already. Raises: LabelRefused, NotTaken."""
        body = body_of(items)
        attempts = Attempts(self._patience)
        while True:
            try:
                response = self._client.post(self._base_url + FEEDBACK, content=body, headers=self._headers)
            except httpx.TransportError as failed:
                pause_s = attempts.lost(failed)
            else:
                outcome = taken(response)
                if outcome is not None:
                    return outcome
                pause_s = attempts.busy(response)
            time.sleep(pause_s)

    def batch(self, *, items_max: int = BATCH_ITEMS) -> "Batch":
        """Collect labels and send them many at a time."""
        return Batch(self, items_max)

    @contextmanager
    def prediction(self, model: str, payload: object, *, path: str = INFER) -> Iterator["Prediction"]:
        """Ask a model in a `with` block, and label the answer before it ends. Raises: as infer."""
        answer = self.infer(model, payload, path=path)
        with self.batch() as batch:
            yield Prediction(batch, answer)


class Batch:
    """Labels that wait to be sent together; what could not be sent stays.

    Attributes:
        outcome: The outcome of all that were sent.
    """

    def __init__(self, client: Turnback, items_max: int) -> None:
        self.outcome = Outcome()
        self._client = client
        self._items_max = items_max
        self._waiting: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.flush()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, receipt: str | None = None, **said: Unpack[Said]) -> None:
        """As `Turnback.feedback`, but sent with others. Raises: ValueError; when it sends, as flush."""
        self._waiting.append(written(item(receipt, **said)))
        if len(self._waiting) >= self._items_max:
            self.flush()

    def flush(self) -> Outcome:
        """Send what waits. Raises: LabelRefused, NotTaken."""
        while self._waiting:
            many = fitting(self._waiting, self._items_max)
            chunk, self._waiting = self._waiting[:many], self._waiting[many:]
            try:
                self.outcome = self.outcome.then(self._client.send_written(chunk))
            except BaseException:
                self._waiting = chunk + self._waiting
                raise
        return self.outcome


class Prediction:
    """An answer that is labelled within its `with` block; labels are sent when the block ends."""

    def __init__(self, batch: Batch, answer: Answer) -> None:
        self.answer = answer
        self._batch = batch

    def label(self, label: LabelValue, *, metric: str | None = None) -> None:
        """Say what was right. Raises: ValueError: the answer has no receipt."""
        self._batch.add(self._receipt(), label=label, metric=metric)

    def value(self, value: float, *, metric: str | None = None) -> None:
        """Give a score, or say whether an event happened. Raises: ValueError: the answer has no receipt."""
        self._batch.add(self._receipt(), value=value, metric=metric)

    def _receipt(self) -> str:
        if self.answer.receipt is None:
            raise ValueError("no version gave this answer, so it cannot be labelled")
        return self.answer.receipt
