"""Copies of answers: which are kept, how they are unpacked, how much memory they take."""

import gzip
import zlib
from tracemalloc import get_traced_memory, start, stop

import pytest
from proxy.answering import INVALID, READ, SKIPPED, V1, following, head_of, read, reader, text

from app.domain.catalog.models import Protocol
from app.proxy.bounds.limits import MAX_BODY
from app.proxy.bounds.memory import Room
from app.proxy.responses.reader import Tap
from app.proxy.responses.reading import Reading

PLAIN = b'{"predictions": [1]}'


@pytest.mark.parametrize(
    "lines", [("content-type: text/html",), ("server: x",), ("content-type: application/octet-stream",)]
)
def test_json_is_read_whatever_its_content_type_says(lines: tuple[str, ...]) -> None:
    assert read(reader(path=V1), b'\n{"predictions": [1]}\n', *lines).predictions == (1.0,)


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        (Protocol.TORCHSERVE, "/predictions/fraud"),
        (Protocol.BENTOML, "/predict"),
        (Protocol.MLFLOW, "/invocations"),
        (Protocol.AUTO, "/predict"),
    ],
)
def test_an_answer_that_need_not_be_json_is_skipped_unless_it_says_it_is(protocol: Protocol, path: str) -> None:
    by = reader(protocol, path)
    assert read(by, b"\x89PNG", "content-type: image/png").counters == SKIPPED
    assert read(by, b"0.5,0.25\n0.75\n", "content-type: text/csv").counters == SKIPPED
    assert read(by, b"\x89PNG", "content-type: application/json").counters == INVALID


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZip", "deflate", "deflate, bare", "identity"])
def test_compressed_answers_are_read(coding: str) -> None:
    body = text({"predictions": [1, 2], "padding": "x" * 100})
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = {
        "deflate": zlib.compress(body),
        "deflate, bare": bare.compress(body) + bare.flush(),
        "identity": body,
    }.get(coding, gzip.compress(body))
    reading = read(reader(path=V1), packed, f"content-encoding: {coding.partition(',')[0]}", step=11)
    assert reading.predictions == (1.0, 2.0)


UNPACKED = {
    "larger than may be": ("gzip", gzip.compress(b" " * 50_000_000)),
    "more than a hundredfold": ("gzip", gzip.compress(b" " * 200_000)),
    "cut": ("gzip", gzip.compress(PLAIN)[:-4]),
    "with a byte more": ("gzip", gzip.compress(PLAIN) + b"x"),
    "of two members": ("gzip", gzip.compress(PLAIN) + gzip.compress(b" ")),
    "not packed": ("gzip", PLAIN),
    "empty": ("gzip", b""),
    "no deflate": ("deflate", b"{"),
    "an empty deflate": ("deflate", b""),
    "brotli": ("br", b"\x0b\x02\x80"),
    "zstd": ("zstd", b"\x28\xb5\x2f\xfd"),
    "packed twice": ("gzip, gzip", gzip.compress(gzip.compress(PLAIN))),
}


@pytest.mark.parametrize("name", UNPACKED)
def test_what_cannot_be_unpacked_within_bounds_is_skipped(name: str) -> None:
    coding, body = UNPACKED[name]
    assert read(reader(path=V1), body, f"content-encoding: {coding}").counters == SKIPPED


def test_an_answer_that_broke_off_is_not_read() -> None:
    follower = following(reader(path=V1), head_of(), b'{"predictions": [1]}')
    assert not follower.ended_well(clean_end=False)
    assert follower.read(clean_end=False) == Reading()


@pytest.mark.parametrize("status", [301, 400, 404, 422, 500, 503])
def test_only_successes_are_read(status: int) -> None:
    head = head_of("content-type: application/json", status=status)
    assert reader(path=V1).follow(head, sampled=True) is None


def test_nothing_follows_what_nobody_wants_to_read() -> None:
    head = head_of("content-type: application/json")
    assert reader(path=V1).follow(head, sampled=False) is None
    assert reader(Protocol.RAW, V1).follow(head, sampled=True) is None


def test_an_answer_as_large_as_may_be_is_read_and_a_larger_one_is_skipped() -> None:
    padding = b" " * (MAX_BODY - len(PLAIN))
    for step in (1 << 20, 5000):
        assert read(reader(path=V1), padding + PLAIN, step=step).counters == READ
        assert read(reader(path=V1), padding + b" " + PLAIN, step=step).counters == SKIPPED


def test_an_answer_that_says_it_is_too_large_is_not_kept_at_all() -> None:
    tap = following(reader(path=V1), head_of(f"content-length: {MAX_BODY + 1}"), bytes(1000))
    assert isinstance(tap, Tap)
    assert tap.body is None
    assert tap.read(clean_end=True).counters == SKIPPED


def test_all_copies_share_one_room_and_give_it_back() -> None:
    room = Room(1000)
    by = reader(path=V1, room=room)
    half = following(by, head_of(), PLAIN + b" " * 600, step=20)
    assert room.left == 400
    other = following(by, head_of(), PLAIN + b" " * 600, step=20)
    assert room.left == 400
    in_one_piece = following(by, head_of(), PLAIN)
    assert other.read(clean_end=True).counters == SKIPPED
    assert in_one_piece.read(clean_end=True).counters == READ
    assert half.read(clean_end=False) == Reading()
    assert room.left == 1000
    assert read(by, PLAIN + b" " * 600, step=20).counters == READ
    assert room.left == 1000


def test_a_copy_that_nobody_reads_gives_its_room_back() -> None:
    room = Room(1000)
    follower = following(reader(path=V1, room=room), head_of(), bytes(600), step=20)
    assert room.left == 420
    del follower
    assert room.left == 1000


def test_an_endless_answer_is_kept_in_bounded_memory() -> None:
    room = Room()
    follower = following(reader(path=V1, room=room), head_of())
    start()
    try:
        for _ in range(2000):
            follower.feed(bytes(1024))
        held, most = get_traced_memory()
    finally:
        stop()
    assert held < 8 * 1024
    assert most < 2 * MAX_BODY
    assert follower.read(clean_end=True).counters == SKIPPED


def test_a_bomb_is_unpacked_in_bounded_memory() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    start()
    try:
        assert read(reader(path=V1), bomb, "content-encoding: gzip").counters == SKIPPED
        _, most = get_traced_memory()
    finally:
        stop()
    assert most < 4 * MAX_BODY
