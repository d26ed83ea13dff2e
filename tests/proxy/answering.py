"""Answers as an upstream's head and body, and whoever follows them."""

import json
import struct
from collections.abc import Iterable

from app.domain.catalog.models import Model, ModelName, Observation, Protocol
from app.domain.evidence.tally import Counter
from app.proxy.bounds.limits import DEFAULT_LIMITS
from app.proxy.bounds.memory import Room
from app.proxy.http1.response_head import ResponseHead
from app.proxy.responses.reader import Reader
from app.proxy.responses.reading import Follower, Reading

READ_ALL = Observation()
READ = {Counter.READ: 1}
INVALID = {Counter.INVALID: 1}
SKIPPED = {Counter.SKIPPED: 1}
NONFINITE = {Counter.READ: 1, Counter.NONFINITE: 1}
V1 = "/v1/models/fraud:predict"
V2 = "/v2/models/fraud/infer"


def head_of(*lines: str, status: int = 200) -> ResponseHead:
    return ResponseHead("\r\n".join([f"HTTP/1.1 {status} OK", *lines]).encode(), DEFAULT_LIMITS)


def reader(
    protocol: Protocol = Protocol.AUTO,
    path: str = "/v2/models/fraud/infer",
    observation: Observation | None = READ_ALL,
    room: Room | None = None,
) -> Reader:
    model = Model(ModelName("fraud"), protocol=protocol, observation=observation)
    return Reader(model, path.encode(), room or Room())


def pieces(body: bytes, step: int) -> Iterable[bytes]:
    return (body[start : start + step] for start in range(0, len(body), step))


def following(by: Reader, head: ResponseHead, body: bytes = b"", step: int = 1 << 20) -> Follower:
    """Who has heard a whole body, in pieces of so many bytes."""
    follower = by.follow(head, sampled=True)
    assert follower is not None
    for piece in pieces(body, step):
        follower.feed(piece)
    return follower


def read(by: Reader, body: bytes, *lines: str, step: int = 1 << 20) -> Reading:
    """What a whole answer is read as; JSON when its head says nothing else."""
    head = head_of(*(lines or ("content-type: application/json",)))
    return following(by, head, body, step).read(clean_end=True)


def text(document: object) -> bytes:
    return json.dumps(document).encode()


def v2(*outputs: object, **more: object) -> bytes:
    return text({"model_name": "fraud", "model_version": "1", "id": "7", **more, "outputs": outputs})


def output(name: str, datatype: str, shape: list[int], data: object, **more: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def binary(*outputs: tuple[str, str, list[int], bytes]) -> tuple[bytes, str]:
    """An answer with tensors behind its header, and the field that says where they begin."""
    header = v2(
        *(
            {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
            for name, datatype, shape, data in outputs
        )
    )
    body = header + b"".join(data for *_, data in outputs)
    return body, f"Inference-Header-Content-Length: {len(header)}"


def strings(*each: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in each)
