"""What telemetry says of rows that were given up."""

from proxy.serving import gateway_with, routed, table_of

from app import telemetry
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import AnsweredRow
from app.proxy.metrics import ObserverFigures
from app.proxy.observing.pending import VALUES_MAX


def test_dropped_answers_are_a_metric() -> None:
    gateway = gateway_with(table_of(routed({"v1": "http://127.0.0.1:9"})))
    (series,) = ObserverFigures(gateway.observer).series()
    assert (series.family, series.value) == (telemetry.ANSWERS_DROPPED, 0.0)
    names = ModelName("fraud"), VersionName("v1")
    for n in range(3):
        values = (1.0,) * (VALUES_MAX // 2)
        gateway.observer.rows.keep(AnsweredRow(1, f"{n:032x}", *names, 1, True, "", None, 200, values))
    (series,) = ObserverFigures(gateway.observer).series()
    assert series.value == 1.0
