"""Checked labels as bytes and back: what a spool's record holds.

Rule: a record says its length and checksum first; what a kill cut off is no record, and was never accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from struct import Struct
from typing import Any, Final
from zlib import crc32

import orjson

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import Attributed, Exchange, Label, Named, NamedBy
from app.feedback.items import Checked

_HEAD: Final = Struct("<II")


def record(batch: Sequence[Checked]) -> bytes:
    """One record of all those labels."""
    payload = orjson.dumps([_document(item) for item in batch])
    return _HEAD.pack(len(payload), crc32(payload)) + payload


def batches(spooled: bytes) -> Iterator[list[Checked]]:
    """The records, as far as they are whole."""
    at = 0
    while at + _HEAD.size <= len(spooled):
        length, checksum = _HEAD.unpack_from(spooled, at)
        payload = spooled[at + _HEAD.size : at + _HEAD.size + length]
        if len(payload) < length or crc32(payload) != checksum:
            return
        yield [_checked(document) for document in orjson.loads(payload)]
        at += _HEAD.size + length


def _document(item: Checked) -> Mapping[str, object]:
    label = item.label
    said = {
        "metric": label.metric,
        "source": label.source,
        "given": label.given,
        "observed_at": label.observed_at,
        "received_at": label.received_at,
        "supersedes": label.supersedes,
    }
    if isinstance(item, Attributed):
        return {"label": said, "exchange": list(item.exchange), "slices": item.slices}
    return {"label": said, "model": item.model, "named_by": item.named_by, "handle": item.handle}


def _checked(document: Mapping[str, Any]) -> Checked:
    said = document["label"]
    observed_at = said["observed_at"]
    label = Label(
        said["metric"],
        said["source"],
        said["given"],
        None if observed_at is None else datetime.fromisoformat(observed_at),
        datetime.fromisoformat(said["received_at"]),
        said["supersedes"],
    )
    if "exchange" not in document:
        return Named(ModelName(document["model"]), NamedBy(document["named_by"]), document["handle"], label)
    exchange, second, model, version, generation = document["exchange"]
    known = Exchange(exchange, second, ModelName(model), VersionName(version), generation)
    return Attributed(known, label, document["slices"])
