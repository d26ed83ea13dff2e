"""Add several upstreams per version, protocols, bulkheads, mirrors and further counts."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in _DOWN:
        op.execute(statement)


_UP = (
    """
    ALTER TABLE models
        ADD sticky_cookie text,
        ADD protocol text NOT NULL DEFAULT 'auto',
        ADD observation jsonb,
        ADD takes_invocations boolean NOT NULL DEFAULT false
    """,
    "CREATE UNIQUE INDEX uq_models_takes_invocations ON models (takes_invocations) WHERE takes_invocations",
    """
    ALTER TABLE versions
        ADD urls text[],
        ADD concurrency integer NOT NULL DEFAULT 1024,
        ADD queue integer NOT NULL DEFAULT 1024,
        ADD path text,
        ADD served_model text,
        ADD server_name text
    """,
    "UPDATE versions SET urls = ARRAY[url]",
    "ALTER TABLE versions ALTER urls SET NOT NULL, DROP url",
    "ALTER TABLE routes ADD mirror jsonb, ADD salt bytea NOT NULL DEFAULT '', ADD salted_at bigint NOT NULL DEFAULT 0",
    """
    CREATE TABLE units (
        model text NOT NULL,
        salted_at bigint NOT NULL,
        unit bigint NOT NULL,
        second bigint NOT NULL,
        boot uuid NOT NULL,
        generation bigint NOT NULL,
        version text NOT NULL,
        outcome text NOT NULL,
        latency_bin smallint NOT NULL,
        CONSTRAINT pk_units PRIMARY KEY (model, salted_at, unit)
    )
    """,
    "CREATE INDEX ix_units_model_salted_at_second ON units (model, salted_at, second)",
    "ALTER TABLE tallies ADD overloaded integer NOT NULL DEFAULT 0, ADD counters jsonb NOT NULL DEFAULT '{}'",
)

# A version keeps the first of its upstreams.
_DOWN = (
    "ALTER TABLE tallies DROP overloaded, DROP counters",
    "DROP TABLE units",
    "ALTER TABLE routes DROP mirror, DROP salt, DROP salted_at",
    "ALTER TABLE versions ADD url text",
    "UPDATE versions SET url = urls[1]",
    """
    ALTER TABLE versions ALTER url SET NOT NULL,
        DROP urls, DROP concurrency, DROP queue, DROP path, DROP served_model, DROP server_name
    """,
    "DROP INDEX uq_models_takes_invocations",
    "ALTER TABLE models DROP sticky_cookie, DROP protocol, DROP observation, DROP takes_invocations",
)
