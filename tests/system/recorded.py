"""What Postgres and Prometheus say was served, to compare with each other and with what the client saw."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from system.processes import Gateway

OUTCOMES = ("ok", "client_error", "upstream_error", "connect_error", "timeout", "cancelled")

Counts = Counter[tuple[str, str, str]]


def tallied(database_url: str) -> Counts:
    """(model, version, outcome) to the sum of all tallies in Postgres."""
    sums = ", ".join(f"sum({outcome})" for outcome in OUTCOMES)
    query = f"SELECT model, version, {sums} FROM tallies GROUP BY model, version"  # noqa: S608 -- constants
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(query.encode()).fetchall()
    return _positive(
        ((model, version, outcome), int(count))
        for model, version, *counts in rows
        for outcome, count in zip(OUTCOMES, counts, strict=True)
    )


def decided(database_url: str) -> Counter[str]:
    """Action to decisions stored; registering is not counted by the metric, it decides nothing about a rollout."""
    query = "SELECT action, count(*) FROM decisions WHERE action <> 'register' GROUP BY action"
    with psycopg.connect(database_url) as connection:
        return Counter(dict(connection.execute(query).fetchall()))


async def exported_decisions(control: Gateway) -> Counter[str]:
    """The same out of a control process' /metrics."""
    total: Counter[str] = Counter()
    for sample in await _samples(control, "turnback_decisions_total"):
        total[sample.labels["action"]] += int(sample.value)
    return +total


async def exported(gateways: Iterable[Gateway]) -> Counts:
    """The same out of the gateways' /metrics, summed over them."""
    total: Counts = Counter()
    for gateway in gateways:
        for sample in await _samples(gateway, "turnback_requests_total"):
            labels = sample.labels
            total[labels["model"], labels["version"], labels["outcome"]] += int(sample.value)
    return _positive(total.items())


async def _samples(gateway: Gateway, name: str) -> list[Sample]:
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{gateway.url('ops')}/metrics")).text
    families = text_string_to_metric_families(text)
    return [sample for family in families for sample in family.samples if sample.name == name]


async def until(holds: Callable[[], bool], within_s: float = 15.0) -> bool:
    """Whether it holds before the time is over."""
    for _ in range(int(within_s / 0.1)):
        if await asyncio.to_thread(holds):
            return True
        await asyncio.sleep(0.1)
    return False


def _positive(counted: Iterable[tuple[tuple[str, str, str], int]]) -> Counts:
    return Counter({key: count for key, count in counted if count})
