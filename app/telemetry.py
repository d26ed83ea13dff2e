"""Log events on stderr and the Prometheus registry: how a process says what it does.

Rule: a log event is a constant dotted name with keys; a metric has bounded labels and a help
sentence, and docs/metrics.md has a heading for it.
"""

import logging
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Protocol

import orjson
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

OTHER = "_other"


def configure_logging(*, pretty: bool | None = None) -> None:
    """Write log events to stderr: pretty for people, else one JSON object a line.

    Args:
        pretty: None decides by whether stderr is a terminal.
    """
    if pretty is None:
        pretty = sys.stderr.isatty()
    # A traceback never shows locals: they may hold a database password.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer(serializer=_json_line)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([] if pretty else [structlog.processors.format_exc_info]),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries speak through logging, and only when something is wrong; their lines look like ours.
    handler = logging.StreamHandler(sys.stderr)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[meta, renderer], foreign_pre_chain=[_library_event, *shared], use_get_message=True
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _library_event(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    record = event["_record"]
    return {**event, "event": "library.spoke", "logger": record.name, "said": event["event"]}


def _json_line(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class Kind(StrEnum):
    """The Prometheus types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as it is documented."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """One histogram series.

    Attributes:
        buckets: Upper bound in seconds to the cumulative count, ascending, the last is "+Inf".
    """

    buckets: Sequence[tuple[str, float]]
    total_s: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series of one family; label values in the family's order."""

    family: Family
    labels: tuple[str, ...]
    value: float | Distribution


BUILD_INFO = Family("turnback_build_info", Kind.GAUGE, "Always 1; which build runs in which role.", ("version", "role"))
REQUESTS = Family(
    "turnback_requests_total",
    Kind.COUNTER,
    "Exchanges that ended, by the version that was drawn and how they ended.",
    ("model", "version", "outcome"),
)
REQUEST_DURATION = Family(
    "turnback_request_duration_seconds",
    Kind.HISTOGRAM,
    "From the draw to the upstream's response head.",
    ("model", "version"),
)
OVERHEAD = Family(
    "turnback_overhead_seconds",
    Kind.HISTOGRAM,
    "Time the gateway itself took between reading a request and handing it to the upstream's connection.",
)
INFLIGHT = Family("turnback_inflight_requests", Kind.GAUGE, "Exchanges under way.", ("model", "version"))
RETRIES = Family(
    "turnback_retries_total", Kind.COUNTER, "Second attempts after nothing had reached the upstream.", ("model",)
)
FALLBACKS = Family("turnback_fallbacks_total", Kind.COUNTER, "Exchanges answered by stable without a coin.", ("model",))
WEIGHT = Family(
    "turnback_traffic_weight_ratio", Kind.GAUGE, "Share of traffic a version should get.", ("model", "version")
)
OBSERVED = Family(
    "turnback_traffic_observed_ratio",
    Kind.GAUGE,
    "Share of the coins of about the last minute a version got on this replica.",
    ("model", "version"),
)
BRAKE_OPEN = Family(
    "turnback_brake_open", Kind.GAUGE, "1 while this replica keeps traffic away from a version.", ("model", "version")
)
QUEUED = Family(
    "turnback_queued_requests", Kind.GAUGE, "Exchanges that wait for a place in their bulkhead.", ("model", "version")
)
UPSTREAMS = Family(
    "turnback_upstreams", Kind.GAUGE, "Upstreams of a version, by how they seem to do.", ("model", "version", "state")
)
ADDRESSES_REFUSED = Family(
    "turnback_upstream_addresses_refused_total",
    Kind.COUNTER,
    "How often an upstream's name led to an address that is not allowed.",
)
ROLLOUT_STATE = Family(
    "turnback_rollout_state", Kind.GAUGE, "1 for the phase of the model's last rollout, else 0.", ("model", "state")
)
EVIDENCE = Family(
    "turnback_guardrail_evidence",
    Kind.GAUGE,
    "Natural logarithm of the evidence that the canary is worse; 4.6 (e = 100) turns it back.",
    ("model", "metric"),
)
DRIFT_PSI = Family(
    "turnback_drift_psi", Kind.GAUGE, "PSI of a canary's distributions about stable's.", ("model", "version", "feature")
)
WATCH_EVIDENCE = Family(
    "turnback_watch_evidence",
    Kind.GAUGE,
    "Natural logarithm of the evidence that a promoted version has become worse than the standby beside it.",
    ("model",),
)
DECISIONS = Family(
    "turnback_decisions_total", Kind.COUNTER, "Decisions stored, by what and who.", ("model", "action", "actor")
)
EVALUATION_DURATION = Family("turnback_evaluation_duration_seconds", Kind.HISTOGRAM, "What one tick took, all looks.")
LAST_EVALUATION = Family(
    "turnback_last_evaluation_timestamp_seconds", Kind.GAUGE, "Unix time of the last completed tick."
)
LOOP_AGE = Family(
    "turnback_loop_age_seconds", Kind.GAUGE, "Seconds since each loop of this process was last heard of.", ("loop",)
)
DB_UP = Family("turnback_db_up", Kind.GAUGE, "1 while Postgres answers this process, else 0.")
GENERATION = Family("turnback_generation", Kind.GAUGE, "The route's generation this replica serves.", ("model",))
ROUTING_AGE = Family(
    "turnback_routing_age_seconds",
    Kind.GAUGE,
    "Seconds since this replica last knew that its routing table is current.",
)
JOURNAL_UP = Family(
    "turnback_journal_up", Kind.GAUGE, "1 while what ends is written where a kill cannot take it, else 0."
)
LOST_ROWS = Family(
    "turnback_lost_rows_total", Kind.COUNTER, "Exchanges whose tallies were dropped because too many rows waited."
)
ANSWERS_DROPPED = Family(
    "turnback_answers_dropped_total", Kind.COUNTER, "Answers whose rows were dropped because too many waited."
)
FEEDBACK = Family(
    "turnback_feedback_total", Kind.COUNTER, "Items of feedback, by what became of them.", ("model", "result")
)
FEEDBACK_LAG = Family(
    "turnback_feedback_lag_seconds", Kind.HISTOGRAM, "From the draw of an exchange to its label's arrival.", ("model",)
)
FEEDBACK_SPOOLED = Family(
    "turnback_feedback_spooled", Kind.GAUGE, "Labels that wait on this machine's disk for Postgres."
)
DROPPED = Family(
    "turnback_series_dropped_total", Kind.COUNTER, "Series folded into another or left out to keep labels bounded."
)

FAMILIES = (
    BUILD_INFO,
    LOOP_AGE,
    REQUESTS,
    REQUEST_DURATION,
    OVERHEAD,
    INFLIGHT,
    RETRIES,
    FALLBACKS,
    WEIGHT,
    OBSERVED,
    BRAKE_OPEN,
    QUEUED,
    UPSTREAMS,
    ADDRESSES_REFUSED,
    ROLLOUT_STATE,
    EVIDENCE,
    DRIFT_PSI,
    WATCH_EVIDENCE,
    DECISIONS,
    EVALUATION_DURATION,
    LAST_EVALUATION,
    DB_UP,
    GENERATION,
    ROUTING_AGE,
    JOURNAL_UP,
    LOST_ROWS,
    ANSWERS_DROPPED,
    FEEDBACK,
    FEEDBACK_LAG,
    FEEDBACK_SPOOLED,
    DROPPED,
)


class Source(Protocol):
    """Whatever can say its figures at this instant; must not block."""

    def series(self) -> Iterable[Series]: ...


class DecisionCount:
    """Decisions this process made; people of all names count as one actor, to keep labels bounded."""

    def __init__(self) -> None:
        self._made: Counter[tuple[str, str, str]] = Counter()

    def add(self, model: str, action: str, *, by_engine: bool) -> None:
        self._made[model, action, "engine" if by_engine else "person"] += 1

    def series(self) -> Iterator[Series]:
        for labels, count in self._made.items():
            yield Series(DECISIONS, labels, float(count))


class Exposition(Collector):
    """Collects the series of all sources, one family at a time, labels bounded."""

    def __init__(self, sources: Sequence[Source], labels: "BoundedLabels") -> None:
        self._sources = sources
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        by_family: dict[Family, dict[tuple[str, ...], float | Distribution]] = {}
        for source in self._sources:
            for series in source.series():
                bounded = self._labels.bound(series)
                if bounded is not None:
                    held = by_family.setdefault(series.family, {})
                    held[bounded] = _merged(held.get(bounded), series.value)
        by_family.setdefault(DROPPED, {})[()] = float(self._labels.dropped)
        for family in FAMILIES:
            if family in by_family:
                yield _metric(family, by_family[family])


def registry(sources: Sequence[Source], labels: "BoundedLabels") -> CollectorRegistry:
    """A registry of its own, so that two processes' worth of parts can live in one test."""
    fresh = CollectorRegistry()
    fresh.register(Exposition(sources, labels))
    return fresh


class BoundedLabels:  # ADR 0033
    """Which models and versions get series of their own.

    A version keeps its series while a place is free; when none is, a serving version takes the
    place of one that no longer serves. What never gets a place is counted as `_other`, and stays
    there, so that no counter ever falls while its series lives.
    """

    MODELS_MAX = 200
    VERSIONS_MAX = 4

    def __init__(self, serving: Callable[[], Container[tuple[str, str]]]) -> None:
        self._serving = serving
        self._places: dict[str, dict[str, None]] = {}
        self._folded: set[tuple[str, str]] = set()
        self._gone: set[tuple[str, str]] = set()

    @property
    def dropped(self) -> int:
        """How many series sets were folded, evicted or left out so far."""
        return len(self._folded) + len(self._gone)

    def bound(self, series: Series) -> tuple[str, ...] | None:
        """The label values to export, or None to leave the series out."""
        names = series.family.labels
        if not names or names[0] != "model":
            return series.labels
        model = series.labels[0]
        if model not in self._places and len(self._places) >= self.MODELS_MAX:
            self._gone.add((model, ""))
            return None
        versions = self._places.setdefault(model, {})
        if "version" not in names:
            return series.labels
        return self._with_version(versions, series.labels)

    def _with_version(self, versions: dict[str, None], labels: tuple[str, ...]) -> tuple[str, ...] | None:
        model, version, *rest = labels
        if version in versions:
            return labels
        if (model, version) in self._gone and (model, version) not in self._serving():
            return None
        if (model, version) in self._folded or not self._made_room(model, versions):
            self._folded.add((model, version))
            return (model, OTHER, *rest)
        versions[version] = None
        return labels

    def _made_room(self, model: str, versions: dict[str, None]) -> bool:
        if len(versions) < self.VERSIONS_MAX:
            return True
        serving = self._serving()
        idle = next((version for version in versions if (model, version) not in serving), None)
        if idle is None:
            return False
        del versions[idle]
        self._gone.add((model, idle))
        return True


def distribution(samples: Mapping[float, int], bounds_s: Sequence[float], total_s: float) -> Distribution:
    """Count a sparse histogram into Prometheus' cumulative buckets.

    Args:
        samples: Upper edge of a fine bin, in seconds, to its count.
        bounds_s: The coarse upper bounds, ascending; what lies above them all is in "+Inf" only.
    """
    coarse = [0] * (len(bounds_s) + 1)
    for edge_s, count in samples.items():
        coarse[bisect_left(bounds_s, edge_s)] += count
    cumulative = list(accumulate(coarse))
    names = [*(f"{bound:g}" for bound in bounds_s), "+Inf"]
    return Distribution(tuple(zip(names, map(float, cumulative), strict=True)), total_s)


def _merged(held: "float | Distribution | None", value: "float | Distribution") -> "float | Distribution":
    if held is None:
        return value
    if isinstance(held, Distribution) and isinstance(value, Distribution):
        both = zip(held.buckets, value.buckets, strict=True)
        return Distribution(
            tuple((name, left + right) for (name, left), (_, right) in both), held.total_s + value.total_s
        )
    if isinstance(held, Distribution) or isinstance(value, Distribution):
        raise TypeError("one family holds either numbers or distributions")
    return held + value


def _metric(family: Family, series: Mapping[tuple[str, ...], "float | Distribution"]) -> Metric:
    match family.kind:
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            for labels, value in series.items():
                if isinstance(value, Distribution):
                    histogram.add_metric(labels, list(value.buckets), value.total_s)
            return histogram
        case Kind.COUNTER:
            return _numbers(CounterMetricFamily(family.name, family.help, labels=family.labels), series)
        case Kind.GAUGE:
            return _numbers(GaugeMetricFamily(family.name, family.help, labels=family.labels), series)


def _numbers(
    metric: CounterMetricFamily | GaugeMetricFamily, series: Mapping[tuple[str, ...], "float | Distribution"]
) -> Metric:
    for labels, value in series.items():
        if not isinstance(value, Distribution):
            metric.add_metric(labels, value)
    return metric
