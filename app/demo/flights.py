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
# The chance from which on a model says "late".
THRESHOLD = 0.5
# Minutes in the air that pass in one second of the replay: to Los Angeles it takes about 1.7 s, to Hawaii 3.1.
AIR_MINUTES_PER_SECOND = 200.0
# By then every flight has landed, and a busy client has said so.
LABEL_HORIZON_S = 5.0
NOT_REPORTED = -1
NOT_KNOWN_YEAR = 0


class Flight(NamedTuple):
    """Everything known of a flight when it takes off.

    Inputs that may be unknown stand last, so that every other input has one fixed place in a request.

    Attributes:
        minute: Scheduled departure, minutes after midnight, local time.
        dep_delay: Minutes after the scheduled departure; negative is early.
        carrier, origin, dest: IATA codes.
        distance: Miles.
        built: Year the plane was built, NOT_KNOWN_YEAR where the registry does not say.
        wind_mph, precip_hundredths_in, visib_quarter_miles, humidity_pct: Weather at the origin in
            the hour of departure, NOT_REPORTED where there is no report.
    """

    month: int
    day: int
    minute: int
    dep_delay: int
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
# These values stand for inputs that a request leaves out; the other inputs are required.
ABSENT: Mapping[str, int] = {
    "built": NOT_KNOWN_YEAR,
    "wind_mph": NOT_REPORTED,
    "precip_hundredths_in": NOT_REPORTED,
    "visib_quarter_miles": NOT_REPORTED,
    "humidity_pct": NOT_REPORTED,
}


def pointer(name: str) -> str:
    """Where a request has an input that is never left out (RFC 6901)."""
    return f"/inputs/{Flight._fields.index(name)}/data/0"


# The gateway is told this of the model beside its name.
DECLARED: Mapping[str, object] = {
    "protocol": "oip_v2",
    "observation": {"prediction": "/outputs/0/data/0"},
    "feedback": {
        "metrics": [{"name": "arrival", "kind": "accuracy", "threshold": THRESHOLD, "horizon_s": LABEL_HORIZON_S}]
    },
    "slices": [{"name": "carrier", "pointer": pointer("carrier")}],
    "features": [{"name": name, "pointer": pointer(name)} for name in ("minute", "dep_delay", "distance")],
}


@dataclass(frozen=True, slots=True)
class History:
    """Flights and what became of them.

    Attributes:
        arr_delay: Minutes after the scheduled arrival; negative is early.
        air_time: Minutes from take-off to landing, when the arrival delay becomes known.
    """

    flights: tuple[Flight, ...]
    arr_delay: NDArray[np.int16]
    air_time: NDArray[np.uint16]

    @property
    def late(self) -> NDArray[np.bool_]:
        """The outcome that the models predict."""
        return self.arr_delay > LATE_MINUTES

    def months(self, first: int, last: int) -> "History":
        chosen = [at for at, flight in enumerate(self.flights) if first <= flight.month <= last]
        flights = tuple(self.flights[at] for at in chosen)
        return History(flights, self.arr_delay[chosen], self.air_time[chosen])


@cache
def history() -> History:
    """All flights of the extract, ordered by scheduled departure."""
    with np.load(DATA, allow_pickle=False) as stored:
        columns = [_column(stored, name) for name in Flight._fields]
        flights = tuple(map(Flight, *columns))
        return History(flights, stored["arr_delay"], stored["air_time"])


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


def chance_in(answer: bytes) -> float | None:
    """The chance of being late in an Open Inference Protocol v2 answer; None when it holds none."""
    try:
        chance = orjson.loads(answer)["outputs"][0]["data"][0]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return None
    return chance if isinstance(chance, float) else None


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
