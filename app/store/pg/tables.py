"""The tables, as Alembic compares them with the migrations.

Rule: every change of them is a migration; partitions are made by `partitions.py`, not here.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_INSTANT = TIMESTAMP(timezone=True)
_NOW = text("clock_timestamp()")

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("match_host", Text),
    Column("match_path_prefix", Text),
    Column("sticky_header", Text),
    Column("sticky_cookie", Text),
    Column("protocol", Text, nullable=False, server_default="auto"),
    Column("observation", JSONB(none_as_null=True)),
    Column("takes_invocations", Boolean, nullable=False, server_default=text("false")),
    Column("feedback", JSONB(none_as_null=True)),
    Column("slices", JSONB, nullable=False, server_default="[]"),
    Column("features", JSONB, nullable=False, server_default="[]"),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
    # Two models never claim the same requests.
    Index(
        "uq_models_match",
        "match_host",
        "match_path_prefix",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("match_host IS NOT NULL OR match_path_prefix IS NOT NULL"),
    ),
    Index("uq_models_takes_invocations", "takes_invocations", unique=True, postgresql_where=text("takes_invocations")),
)

versions = Table(
    "versions",
    metadata,
    Column("model", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("urls", ARRAY(Text), nullable=False),
    Column("health_path", Text),
    Column("connect_s", Double, nullable=False),
    Column("first_byte_s", Double, nullable=False),
    Column("idle_s", Double, nullable=False),
    Column("total_s", Double, nullable=False),
    Column("concurrency", Integer, nullable=False, server_default="1024"),
    Column("queue", Integer, nullable=False, server_default="1024"),
    Column("path", Text),
    Column("served_model", Text),
    Column("server_name", Text),
    Column("credentials", JSONB, nullable=False, server_default="{}"),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
    ForeignKeyConstraint(["model"], ["models.name"]),
)

routes = Table(
    "routes",
    metadata,
    Column("model", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("stable", Text, nullable=False),
    Column("weights_bp", JSONB, nullable=False),
    Column("latency_horizon_ms", Integer, nullable=False),
    Column("mirror", JSONB(none_as_null=True)),
    Column("salt", LargeBinary, nullable=False, server_default=""),
    Column("salted_at", BigInteger, nullable=False, server_default="0"),
    ForeignKeyConstraint(["model", "stable"], ["versions.model", "versions.name"]),
)

generations = Table(
    "generations",
    metadata,
    Column("model", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True),
    Column("at", _INSTANT, nullable=False),
    Column("stable", Text, nullable=False),
    Column("weights_bp", JSONB, nullable=False),
    ForeignKeyConstraint(["model"], ["models.name"]),
    Index(None, "model", "at"),
)

# One row: the number replicas poll. A sequence would show a change before it is committed.
routing = Table(
    "routing",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    CheckConstraint("one = 1", name="one_row"),
)

# Of a rollout and a watch only what is listed or joined by is a column; `weight_bp` and `started_at` of the one and
# `standby` of the other nobody reads but people who look into the tables.
rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("model", Text, nullable=False),
    Column("stable", Text, nullable=False),
    Column("canary", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("weight_bp", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("started_generation", BigInteger, nullable=False),
    Column("started_at", _INSTANT, nullable=False),
    Column("ended_at", _INSTANT),
    Column("state", JSONB, nullable=False),
    ForeignKeyConstraint(["model", "stable"], ["versions.model", "versions.name"]),
    ForeignKeyConstraint(["model", "canary"], ["versions.model", "versions.name"]),
    # One active rollout per model, whoever races.
    Index("uq_rollouts_active", "model", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index(None, "model", "id"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("model", Text, nullable=False),
    Column("rollout_id", Uuid),
    Column("at", _INSTANT, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("reason", Text),
    Column("sentence", Text, nullable=False),
    Column("generation_before", BigInteger, nullable=False),
    Column("generation_after", BigInteger, nullable=False),
    Column("weights_before", JSONB, nullable=False),
    Column("weights_after", JSONB, nullable=False),
    Column("evidence", JSONB, nullable=False),
    ForeignKeyConstraint(["model"], ["models.name"]),
    ForeignKeyConstraint(["rollout_id"], ["rollouts.id"]),
    UniqueConstraint("model", "generation_after"),
    Index(None, "model", "id"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", _INSTANT, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text),
    Column("reason", Text),
    Column("decision_id", Uuid),
)

replicas = Table(
    "replicas",
    metadata,
    Column("boot", Uuid, primary_key=True),
    Column("role", Text, nullable=False),
    Column("started_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("heartbeat", _INSTANT, nullable=False),
    Column("status_through", BigInteger, nullable=False),
    Column("latency_through", BigInteger, nullable=False),
    Column("applied_revision", BigInteger, nullable=False),
    Column("open_brakes", JSONB, nullable=False),
    # Those the audit has heard of; no replica writes it.
    Column("audited_brakes", JSONB, nullable=False, server_default="[]"),
)

# One row per sticky caller and rollout: the earliest draw wins, whichever replica saw it.
units = Table(
    "units",
    metadata,
    Column("model", Text, primary_key=True),
    Column("salted_at", BigInteger, primary_key=True, autoincrement=False),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("second", BigInteger, nullable=False),
    Column("boot", Uuid, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("latency_bin", SmallInteger, nullable=False),
    # The engine reads one rollout over a span of seconds.
    Index("ix_units_model_salted_at_second", "model", "salted_at", "second"),
)

tallies = Table(
    "tallies",
    metadata,
    Column("boot", Uuid, primary_key=True),
    Column("second", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Text, primary_key=True),
    Column("exchanges", Integer, nullable=False),
    Column("ok", Integer, nullable=False),
    Column("client_error", Integer, nullable=False),
    Column("upstream_error", Integer, nullable=False),
    Column("connect_error", Integer, nullable=False),
    Column("timeout", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("overloaded", Integer, nullable=False, server_default="0"),
    Column("excluded", Integer, nullable=False),
    Column("latency_bins", ARRAY(SmallInteger), nullable=False),
    Column("latency_counts", ARRAY(Integer), nullable=False),
    Column("counters", JSONB, nullable=False, server_default="{}"),
    Column("sequence", BigInteger, nullable=False),
    # The engine and the metrics read one model over a span of seconds.
    Index(None, "model", "second"),
    postgresql_partition_by="RANGE (second)",
)


def _of_boot(name: str) -> Table:
    """Absolute rows keyed like tallies; what they hold adds up, whatever it is."""
    return Table(
        name,
        metadata,
        Column("boot", Uuid, primary_key=True),
        Column("second", BigInteger, primary_key=True, autoincrement=False),
        Column("model", Text, primary_key=True),
        Column("generation", BigInteger, primary_key=True, autoincrement=False),
        Column("version", Text, primary_key=True),
        Column("content", JSONB, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Index(None, "model", "second"),
        postgresql_partition_by="RANGE (second)",
    )


# What was read of answers, a row a second; distributions, a row every ten seconds.
observed = _of_boot("observed")
spreads = _of_boot("spreads")

# One row per exchange that may be labelled or recalled; never its input.
answers = Table(
    "answers",
    metadata,
    Column("exchange", Uuid, primary_key=True),
    Column("second", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("sampled", Boolean, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("client_key", Text),
    Column("status", SmallInteger, nullable=False),
    Column("predictions", JSONB, nullable=False),
    Column("scores", JSONB, nullable=False),
    Column("slices", JSONB, nullable=False),
    # What the gateway names itself is found by the key; a row says so by both being the same.
    Index(
        "ix_answers_model_request_id",
        "model",
        "request_id",
        postgresql_where=text("request_id <> replace(exchange::text, '-', '')"),
    ),
    Index("ix_answers_model_client_key", "model", "client_key", postgresql_where=text("client_key IS NOT NULL")),
    Index(None, "model", "version", "second"),
    postgresql_partition_by="RANGE (second)",
)

# By the second of the draw, whenever the label came, so that a cohort is read from one place.
labels = Table(
    "labels",
    metadata,
    Column("exchange", Uuid, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("second", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("label", JSONB, nullable=False),
    Column("slices", JSONB, nullable=False),
    Column("observed_at", _INSTANT),
    Column("received_at", _INSTANT, nullable=False),
    # With its source this is its rank.
    Column("by_receipt", Boolean, nullable=False, server_default="false"),
    Index(None, "model", "metric", "second"),
    postgresql_partition_by="RANGE (second)",
)

# Labels whose exchange is named otherwise than by its receipt, and has not been written yet.
parked_labels = Table(
    "parked_labels",
    metadata,
    Column("model", Text, primary_key=True),
    Column("named_by", Text, primary_key=True),
    Column("handle", Text, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("label", JSONB, nullable=False),
    Column("observed_at", _INSTANT),
    Column("received_at", _INSTANT, nullable=False),
    ForeignKeyConstraint(["model"], ["models.name"]),
    Index(None, "received_at"),
)

# After a promotion: the version before keeps a little traffic, to tell whether it would be better today.
watches = Table(
    "watches",
    metadata,
    Column("rollout_id", Uuid, primary_key=True),
    Column("model", Text, nullable=False),
    Column("stable", Text, nullable=False),
    Column("standby", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("started_at", _INSTANT, nullable=False),
    Column("until", _INSTANT, nullable=False),
    Column("ended_at", _INSTANT),
    Column("ended_by", Text),
    Column("state", JSONB, nullable=False),
    ForeignKeyConstraint(["rollout_id"], ["rollouts.id"]),
    Index("uq_watches_active", "model", unique=True, postgresql_where=text("ended_at IS NULL")),
)

# What a version that was turned back had answered while it was exposed.
recalls = Table(
    "recalls",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("decision_id", Uuid),
    Column("at", _INSTANT, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since_second", BigInteger, nullable=False),
    Column("until_second", BigInteger, nullable=False),
    # Of a rollout; null where any will do.
    Column("since_generation", BigInteger),
    Column("until_generation", BigInteger),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.name"]),
    ForeignKeyConstraint(["decision_id"], ["decisions.id"]),
    Index(None, "model", "id"),
)
