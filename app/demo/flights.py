"""The shipped flights of January to June 2013, as rows and as inference requests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "flights-2013-h1.npz"
MODEL = "flight-delay"
LATE_MINUTES = 30
LAST_TRAINING_MONTH = 3
NOT_REPORTED = -1
NOT_KNOWN_YEAR = 0


class Flight(NamedTuple):
    """What is known of a flight before it leaves.

    Attributes:
        minute: Scheduled departure, minutes after midnight, local time.
        carrier, origin, dest: IATA codes.
        distance: Miles.
        built: Year the plane was built, NOT_KNOWN_YEAR where the registry does not say.
        wind_mph, precip_hundredths_in, visib_quarter_miles, humidity_pct: Weather at the origin in
            the hour of departure, NOT_REPORTED where there is no report.
    """

    month: int
    day: int
    minute: int
    carrier: str
    origin: str
    dest: str
    distance: int
    built: int
    wind_mph: int
    precip_hundredths_in: int
    visib_quarter_miles: int
    humidity_pct: int


CODES = frozenset({"carrier", "origin", "dest"})
# What stands for an input that a request leaves out; the other inputs are required.
ABSENT: Mapping[str, int] = {
    "built": NOT_KNOWN_YEAR,
    "wind_mph": NOT_REPORTED,
    "precip_hundredths_in": NOT_REPORTED,
    "visib_quarter_miles": NOT_REPORTED,
    "humidity_pct": NOT_REPORTED,
}


@dataclass(frozen=True, slots=True)
class History:
    """Flights and what became of them.

    Attributes:
        arr_delay: Minutes after the scheduled arrival; negative is early.
    """

    flights: tuple[Flight, ...]
    arr_delay: NDArray[np.int16]

    @property
    def late(self) -> NDArray[np.bool_]:
        """What the models predict."""
        return self.arr_delay > LATE_MINUTES

    def months(self, first: int, last: int) -> "History":
        chosen = [at for at, flight in enumerate(self.flights) if first <= flight.month <= last]
        return History(tuple(self.flights[at] for at in chosen), self.arr_delay[chosen])


@cache
def history() -> History:
    """All flights of the extract, ordered by scheduled departure."""
    with np.load(DATA, allow_pickle=False) as stored:
        columns = [_column(stored, name) for name in Flight._fields]
        flights = tuple(map(Flight, *columns))
        return History(flights, stored["arr_delay"])


def training_months() -> History:
    """January to March."""
    return history().months(1, LAST_TRAINING_MONTH)


def replay_months() -> History:
    """April to June."""
    return history().months(LAST_TRAINING_MONTH + 1, 6)


def body(flight: Flight) -> bytes:
    """An Open Inference Protocol v2 request; what is not known is left out."""
    return orjson.dumps({"inputs": [_tensor(name, value) for name, value in _known(flight)]})


def request(flight: Flight, host: str) -> bytes:
    """One inference request as it goes over the wire."""
    content = body(flight)
    head = (
        f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nhost: {host}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _column(stored: Mapping[str, NDArray[Any]], name: str) -> list[Any]:
    values: list[Any] = stored[name].tolist()
    if name not in CODES:
        return values
    codes = [code.decode() for code in stored[f"{name}_codes"].tolist()]
    return [codes[value] for value in values]


def _known(flight: Flight) -> Iterator[tuple[str, int | str]]:
    values: Mapping[str, int | str] = flight._asdict()
    return ((name, value) for name, value in values.items() if ABSENT.get(name) != value)


def _tensor(name: str, value: int | str) -> Mapping[str, object]:
    return {"name": name, "shape": [1], "datatype": "BYTES" if name in CODES else "INT32", "data": [value]}
