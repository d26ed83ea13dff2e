"""Labels go to a gateway in batches; a bookmark beside the file says how far they were taken.

Rule: the bookmark is written after the gateway has taken a batch, never before: what is sent twice counts once.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from app.cli.gateway import refused
from app.cli.labels.files import Item, LabelFile, Place, Record
from app.cli.output import Refused
from app.cli.verbs import ExitCode
from app.terminal.text import plain

PATH = "/turnback/v1/feedback"
RESULTS = ("joined", "pending", "duplicate", "orphan", "unknown", "invalid")
OF_NO_USE = frozenset({"orphan", "unknown", "invalid"})
BUSY = frozenset({429, 502, 503, 504})
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
PROBLEMS_MAX = 100
# Of the file, in one request, and one record more; a gateway takes 8 MiB of JSON, which is longer than CSV.
BATCH_BYTES = 2 * 1024 * 1024


@dataclass(slots=True)
class Progress:
    """The fate of a file's records so far.

    Attributes:
        counts: Records by the gateway's word for what became of them.
        problems: The first 100 that are of no use, with line, result and reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Mapping[str, object]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every record was of use, now or before."""
        return not any(self.counts[result] for result in OF_NO_USE)

    def tell(self, line: int, result: str, reason: object) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append({"line": line, "result": result, "reason": reason})


class FeedbackPort:
    """The address at which a gateway takes labels."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(timeout=httpx.Timeout(60, connect=3), headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, items: Sequence[Item]) -> Mapping[str, Any]:
        """Send a batch and return the answer. Raises: Refused: it is not taken, at once or after half a minute."""
        for pause_s in (*PAUSES_S, None):
            try:
                response = self._client.post(f"{self.url}{PATH}", json=items)
            except (httpx.TransportError, httpx.InvalidURL) as failed:
                why = Refused(ExitCode.UNREACHABLE, f"no gateway takes labels at {plain(self.url)} ({failed!r}).")
            else:
                if response.is_success:
                    return _document(response, self.url)
                why = refused(response)
                if response.status_code not in BUSY:
                    raise why
            if pause_s is not None:
                time.sleep(pause_s)
        raise why


@dataclass(frozen=True, slots=True)
class Bookmark:  # ADR 0116
    """A small file beside a file of labels: how far one gateway has taken it."""

    path: Path
    url: str

    @classmethod
    def of(cls, labels: Path, url: str) -> Self:
        return cls(labels.with_name(f"{labels.name}.sent"), url)

    def read(self) -> tuple[Place, Progress] | None:
        """The place to go on at; None when nothing was sent there yet."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["url"] != self.url:
                return None
            return Place(**kept["place"]), Progress(Counter(kept["counts"]), list(kept["problems"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, place: Place, progress: Progress) -> None:
        """Keep how far the gateway has come. Raises: OSError."""
        kept = {"url": self.url, "place": asdict(place), "counts": progress.counts, "problems": progress.problems}
        beside = self.path.with_name(f"{self.path.name}.new")
        beside.write_text(json.dumps(kept), encoding="utf-8")
        beside.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def sent(
    labels: LabelFile, port: FeedbackPort, bookmark: Bookmark, progress: Progress, batch_max: int
) -> Iterator[Place]:
    """Send what has not been read yet, batch by batch; yields how far it has come. Raises: Refused, OSError."""
    for batch in _batches(labels, batch_max):
        _send(batch, port, progress)
        bookmark.write(labels.place, progress)
        yield labels.place


def _batches(labels: LabelFile, batch_max: int) -> Iterator[Sequence[Record]]:
    """Records that go in one request; nothing is read behind them before the next ones are asked for."""
    batch: list[Record] = []
    begin = end = labels.offset
    for record in labels.records():
        size, end = labels.offset - end, labels.offset
        is_too_large = size > BATCH_BYTES
        batch.append(Record(record.line, None, "it is too large for a label") if is_too_large else record)
        if len(batch) == batch_max or end - begin >= BATCH_BYTES:
            yield batch
            batch, begin = [], end
    if batch:
        yield batch


def _send(batch: Sequence[Record], port: FeedbackPort, progress: Progress) -> None:
    usable = [record for record in batch if record.item is not None]
    answered = port.send([record.item for record in usable if record.item is not None]) if usable else {}
    for record in batch:
        if record.item is None:
            progress.counts["invalid"] += 1
            progress.tell(record.line, "invalid", record.why)
    progress.counts.update({result: int(answered.get(result, 0)) for result in RESULTS})
    for each in answered.get("items", ()):
        if each["result"] in OF_NO_USE:
            progress.tell(usable[each["index"]].line, each["result"], each.get("reason"))


def _document(response: httpx.Response, url: str) -> Mapping[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refused(ExitCode.UNREACHABLE, f"what answers at {plain(url)} is not a Turnback inference listener.")
    return document
