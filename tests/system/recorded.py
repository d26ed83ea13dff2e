"""What Postgres and Prometheus say was served, to compare with each other and with what the client saw."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import httpx
import psycopg
from processes import Gateway
from prometheus_client.parser import text_string_to_metric_families

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


async def exported(gateways: Iterable[Gateway]) -> Counts:
    """The same out of the gateways' /metrics, summed over them."""
    total: Counts = Counter()
    async with httpx.AsyncClient(trust_env=False) as http:
        for gateway in gateways:
            text = (await http.get(f"{gateway.url('ops')}/metrics")).text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == "turnback_requests_total":
                        labels = sample.labels
                        total[labels["model"], labels["version"], labels["outcome"]] += int(sample.value)
    return _positive(total.items())


async def until(holds: Callable[[], bool], within_s: float = 15.0) -> bool:
    """Whether it holds before the time is over."""
    for _ in range(int(within_s / 0.1)):
        if await asyncio.to_thread(holds):
            return True
        await asyncio.sleep(0.1)
    return False


def _positive(counted: Iterable[tuple[tuple[str, str, str], int]]) -> Counts:
    return Counter({key: count for key, count in counted if count})
