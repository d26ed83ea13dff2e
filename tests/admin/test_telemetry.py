"""What Prometheus reads: every metric documented, every label bounded."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app import telemetry
from app.telemetry import FAMILIES, BoundedLabels, Series, distribution

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")


class Fixed:
    def __init__(self, *series: Series) -> None:
        self.fixed = list(series)

    def series(self) -> Iterable[Series]:
        return self.fixed


def scraped(source: Fixed, labels: BoundedLabels) -> dict[tuple[str, ...], float]:
    text = generate_latest(telemetry.registry([source], labels)).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def requests(version: str, count: float, model: str = "m") -> Series:
    return Series(telemetry.REQUESTS, (model, version, "ok"), count)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_metric_is_documented(family: telemetry.Family) -> None:
    assert f"### `{family.name}`" in PAGE


def test_no_documented_metric_is_missing() -> None:
    headings = {line.strip("#` ") for line in PAGE.splitlines() if line.startswith("### ")}
    assert headings == {family.name for family in FAMILIES}


def test_a_fifth_serving_version_is_counted_as_other() -> None:
    every = {("m", f"v{number}") for number in range(6)}
    found = scraped(Fixed(*(requests(f"v{number}", 1.0) for number in range(6))), BoundedLabels(lambda: every))
    assert found["turnback_requests_total", "m", "ok", "_other"] == 2.0
    assert found["turnback_series_dropped_total",] == 2.0


def test_a_version_that_no_longer_serves_gives_its_place_up() -> None:
    labels = BoundedLabels(lambda: {("m", "v9")})
    old = [requests(f"v{number}", 1.0) for number in range(4)]
    scraped(Fixed(*old), labels)
    scraped(Fixed(*old, requests("v9", 7.0)), labels)
    found = scraped(Fixed(*old, requests("v9", 7.0)), labels)
    assert found["turnback_requests_total", "m", "ok", "v9"] == 7.0
    assert len([name for name in found if name[0] == "turnback_requests_total"]) == 4


def test_the_two_hundred_and_first_model_is_left_out() -> None:
    found = scraped(Fixed(*(requests("v", 1.0, f"m{number}") for number in range(201))), BoundedLabels(set))
    assert len([name for name in found if name[0] == "turnback_requests_total"]) == 200
    assert found["turnback_series_dropped_total",] == 1.0


def test_a_histogram_is_cumulative_and_ends_at_the_count() -> None:
    spread = distribution({0.001: 3, 0.01: 2, 9.0: 1}, (0.005, 0.01, 1.0), 9.5)
    assert spread.buckets == (("0.005", 3.0), ("0.01", 5.0), ("1", 5.0), ("+Inf", 6.0))
