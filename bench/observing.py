"""What reading one exchange costs when nobody waits for it, and what its receipt costs while somebody does.

Method: the data plane's own notes and observer, on a request of four features and one slice in its body and an
answer with a label and a score; every part in turn in one process, CPU time of this process, the loop that calls
it taken off. What parsing costs is told apart, because it is the bodies' affair.
Run `python -m bench.observing [--json]`.
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random
from statistics import median

import orjson

from app import compiled
from app.domain.catalog.declarations import Feature, SliceKey
from app.domain.catalog.models import Observation
from app.domain.catalog.routing import RoutingTable
from app.proxy import Gateway
from app.proxy.bounds.limits import DEFAULT_LIMITS
from app.proxy.http1.request_head import RequestHead
from app.proxy.http1.response_head import ResponseHead
from app.proxy.observing.note import Note
from app.proxy.observing.observer import slices_of
from app.proxy.routing.arm import ServingArm
from app.recording.tally_row import OK
from bench.peer_turnback import table_of

EXCHANGES = 5_000
REPEATS = 31
SEED = 20_261_125
URL = b"/v1/models/bench:predict"
FEATURES = 4
# The goal of `extract`.
GOAL_US = 5.0

Document = dict[str, object]


class Subject:
    """A gateway that watches one model, and the notes of exchanges that have ended there."""

    def __init__(self, random: Random, exchanges: int) -> None:
        self.gateway = Gateway(time.time)
        self.gateway.swap(_watched())
        target = self.gateway.compiled.find(URL, b"")
        self.route, self.reader = target.route, target.reader
        self.requests = [_request(random) for _ in range(exchanges)]
        self.answers = [_answer(random) for _ in range(exchanges)]
        self.said = list(map(orjson.loads, self.requests))
        self.head = ResponseHead(b"HTTP/1.1 200 OK\r\ncontent-type: application/json", DEFAULT_LIMITS)
        self.asked = RequestHead(b"POST " + URL + b" HTTP/1.1\r\nhost: a\r\ncontent-length: 9", DEFAULT_LIMITS)
        followers = [note.follower for note in self.notes()]
        self.readings = [each.read(clean_end=True) for each in followers if each is not None]

    def notes(self) -> list[Note]:
        """As exchanges leave them."""
        arms = (self.route.stable, *self.route.others)
        now = int(time.time())
        return [self._note(arms[place % 10 == 0], now, place) for place in range(len(self.requests))]

    def _note(self, arm: ServingArm, now: int, place: int) -> Note:
        note = Note(
            self.route.watched,
            arm,
            self.asked,
            b"r",
            now,
            1,
            is_stable=arm is self.route.stable,
            sampled=True,
            is_inference=True,
        )
        note.status, note.outcome, note.seconds, note.clean_end = 200, OK, 0.01, True
        note.exchange = self.gateway.receipts.new_exchange()
        note.body = self.gateway.context.room.kept(b"\r\n" + self.requests[place])
        note.follower = self.reader.follow(self.head, sampled=True)
        if note.follower is not None:
            note.follower.feed(self.answers[place])
        return note

    # ------------------------------------------------------------------ parts

    def read_answers(self, notes: list[Note]) -> None:
        """What was done before anything was declared: parse, and find the prediction."""
        for note in notes:
            if note.follower is not None:
                note.follower.read(clean_end=True)

    def parse_requests(self, notes: list[Note]) -> None:
        """Only the parser of the request's body."""
        for _, body in zip(notes, self.requests, strict=True):
            orjson.loads(body)

    def extract(self, notes: list[Note]) -> None:
        """Of what is parsed: the slice, the features and the prediction into distributions, and those handed out."""
        observer = self.gateway.observer
        for note, reading, said in zip(notes, self.readings, self.said, strict=True):
            slices_of(note, said)
            observer._spread(note, reading, said)  # noqa: SLF001 -- a part of the whole
        observer.acknowledge(observer.collect())

    def observe(self, notes: list[Note]) -> None:
        """Everything, the rows that are handed out at the end included."""
        observer = self.gateway.observer
        for note in notes:
            observer._look(note)  # noqa: SLF001 -- without an event loop between
        observer.acknowledge(observer.collect())

    def sign(self, notes: list[Note]) -> None:
        """The receipt's field, on the way of the answer."""
        signer, receipts = self.route.stable.signer, self.gateway.receipts
        for note in notes:
            b"x-turnback-receipt: " + signer.receipt(note.second, receipts.new_exchange())

    def pass_by(self, notes: list[Note]) -> None:
        """The loop alone."""
        for _ in notes:
            pass


def _watched() -> RoutingTable:
    table = table_of("http://127.0.0.1:9")
    (routed,) = table.models
    model = replace(
        routed.model,
        observation=Observation(),
        slices=(SliceKey("country", pointer="/instances/0/country"),),
        features=tuple(Feature(f"x{number}", f"/instances/0/x{number}") for number in range(FEATURES)),
    )
    return replace(table, models=(replace(routed, model=model),))


def _request(random: Random) -> bytes:
    """About 1 KiB with four features, a slice and what else a model is asked with."""
    row = {f"x{number}": random.gauss(0.0, 1.0) for number in range(40)}
    return orjson.dumps({"instances": [{**row, "country": random.choice(("NO", "SE", "DK", "FI", "IS"))}]})


def _answer(random: Random) -> bytes:
    label = random.choice(("yes", "no"))
    return orjson.dumps({"predictions": [{"label": label, "score": random.random()}]})


def measure(exchanges: int = EXCHANGES, repeats: int = REPEATS) -> Document:
    """Median microseconds per exchange, and how they spread."""
    subject = Subject(Random(SEED), exchanges)
    parts: dict[str, Callable[[list[Note]], None]] = {
        "loop": subject.pass_by,
        "read_answer": subject.read_answers,
        "parse_request": subject.parse_requests,
        "extract": subject.extract,
        "whole": subject.observe,
        "receipt": subject.sign,
    }
    took: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            took[name].append(_us_each(part, subject.notes()))
    loop_us = median(took.pop("loop"))
    figures = {name: _spread([each - loop_us for each in all_of_it]) for name, all_of_it in took.items()}
    parsed = figures["parse_request"]["median"] + figures["read_answer"]["median"]
    return {
        "us_per_exchange": figures,
        "parsing_share": round(parsed / figures["whole"]["median"], 3),
        "goal": {"extract_us": GOAL_US, "met": figures["extract"]["median"] <= GOAL_US},
        "request_bytes": len(subject.requests[0]),
        "python": platform.python_version(),
        "compiled": compiled.is_in_use(),
        "exchanges": exchanges,
        "repeats": repeats,
    }


def _us_each(work: Callable[[list[Note]], None], notes: list[Note]) -> float:
    started = time.process_time()
    work(notes)
    return (time.process_time() - started) / len(notes) * 1e6


def _spread(figures: list[float]) -> dict[str, float]:
    return {"median": round(median(figures), 3), "least": round(min(figures), 3), "most": round(max(figures), 3)}


if __name__ == "__main__":
    measured = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(measured, indent=2))
    else:
        for name, spread in measured["us_per_exchange"].items():  # type: ignore[attr-defined]  # built above
            print(f"{name}: {spread['median']} us (from {spread['least']} to {spread['most']})")
        print(f"parsing is {measured['parsing_share']:.0%} of the whole")
