"""Add labels, answers, what was read of them, watches after promotions and recalls."""

from alembic import op

revision = "0005"
down_revision = "0004"
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


_KEYED_BY_BOOT = """
    boot uuid NOT NULL,
    second bigint NOT NULL,
    model text NOT NULL,
    generation bigint NOT NULL,
    version text NOT NULL,
    content jsonb NOT NULL,
    sequence bigint NOT NULL
"""

_UP = (
    """
    ALTER TABLE models
        ADD feedback jsonb,
        ADD slices jsonb NOT NULL DEFAULT '[]',
        ADD features jsonb NOT NULL DEFAULT '[]'
    """,
    "ALTER TABLE versions ADD credentials jsonb NOT NULL DEFAULT '{}'",
    f"""
    CREATE TABLE observed (
        {_KEYED_BY_BOOT},
        CONSTRAINT pk_observed PRIMARY KEY (boot, second, model, generation, version)
    ) PARTITION BY RANGE (second)
    """,
    "CREATE INDEX ix_observed_model_second ON observed (model, second)",
    f"""
    CREATE TABLE spreads (
        {_KEYED_BY_BOOT},
        CONSTRAINT pk_spreads PRIMARY KEY (boot, second, model, generation, version)
    ) PARTITION BY RANGE (second)
    """,
    "CREATE INDEX ix_spreads_model_second ON spreads (model, second)",
    """
    CREATE TABLE answers (
        exchange uuid NOT NULL,
        second bigint NOT NULL,
        model text NOT NULL,
        version text NOT NULL,
        generation bigint NOT NULL,
        sampled boolean NOT NULL,
        request_id text NOT NULL,
        client_key text,
        status smallint NOT NULL,
        predictions jsonb NOT NULL,
        scores jsonb NOT NULL,
        slices jsonb NOT NULL,
        CONSTRAINT pk_answers PRIMARY KEY (exchange, second)
    ) PARTITION BY RANGE (second)
    """,
    "CREATE INDEX ix_answers_model_request_id ON answers (model, request_id)",
    "CREATE INDEX ix_answers_model_client_key ON answers (model, client_key) WHERE client_key IS NOT NULL",
    "CREATE INDEX ix_answers_model_version_second ON answers (model, version, second)",
    """
    CREATE TABLE labels (
        exchange uuid NOT NULL,
        metric text NOT NULL,
        source text NOT NULL,
        revision integer NOT NULL,
        second bigint NOT NULL,
        model text NOT NULL,
        version text NOT NULL,
        generation bigint NOT NULL,
        label jsonb NOT NULL,
        slices jsonb NOT NULL,
        observed_at timestamptz,
        received_at timestamptz NOT NULL,
        CONSTRAINT pk_labels PRIMARY KEY (exchange, metric, source, revision, second)
    ) PARTITION BY RANGE (second)
    """,
    "CREATE INDEX ix_labels_model_metric_second ON labels (model, metric, second)",
    *(
        f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT"
        for table in ("observed", "spreads", "answers", "labels")
    ),
    """
    CREATE TABLE parked_labels (
        model text NOT NULL,
        named_by text NOT NULL,
        handle text NOT NULL,
        metric text NOT NULL,
        source text NOT NULL,
        revision integer NOT NULL,
        label jsonb NOT NULL,
        observed_at timestamptz,
        received_at timestamptz NOT NULL,
        CONSTRAINT pk_parked_labels PRIMARY KEY (model, named_by, handle, metric, source, revision),
        CONSTRAINT fk_parked_labels_model FOREIGN KEY (model) REFERENCES models (name)
    )
    """,
    "CREATE INDEX ix_parked_labels_received_at ON parked_labels (received_at)",
    """
    CREATE TABLE watches (
        rollout_id uuid NOT NULL,
        model text NOT NULL,
        stable text NOT NULL,
        standby text NOT NULL,
        generation bigint NOT NULL,
        started_at timestamptz NOT NULL,
        until timestamptz NOT NULL,
        ended_at timestamptz,
        ended_by text,
        state jsonb NOT NULL,
        CONSTRAINT pk_watches PRIMARY KEY (rollout_id),
        CONSTRAINT fk_watches_rollout_id FOREIGN KEY (rollout_id) REFERENCES rollouts (id)
    )
    """,
    "CREATE UNIQUE INDEX uq_watches_active ON watches (model) WHERE ended_at IS NULL",
    """
    CREATE TABLE recalls (
        id uuid NOT NULL,
        model text NOT NULL,
        version text NOT NULL,
        decision_id uuid,
        at timestamptz NOT NULL,
        reason text NOT NULL,
        since_second bigint NOT NULL,
        until_second bigint NOT NULL,
        since_generation bigint,
        until_generation bigint,
        CONSTRAINT pk_recalls PRIMARY KEY (id),
        CONSTRAINT fk_recalls_model_version FOREIGN KEY (model, version) REFERENCES versions (model, name),
        CONSTRAINT fk_recalls_decision_id FOREIGN KEY (decision_id) REFERENCES decisions (id)
    )
    """,
    "CREATE INDEX ix_recalls_model_id ON recalls (model, id)",
)

_DOWN = (
    "DROP TABLE recalls, watches, parked_labels, labels, answers, spreads, observed",
    "ALTER TABLE versions DROP credentials",
    "ALTER TABLE models DROP feedback, DROP slices, DROP features",
)
