"""Create the first tables."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in (*_CATALOG, *_ROUTES, *_ROLLOUTS, *_TALLIES):
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute(
        "DROP TABLE tallies, replicas, audit, decisions, rollouts, routing, generations, routes, versions, models"
    )


_CATALOG = (
    """
    CREATE TABLE models (
        name text CONSTRAINT pk_models PRIMARY KEY,
        match_host text,
        match_path_prefix text,
        sticky_header text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE UNIQUE INDEX uq_models_match ON models (match_host, match_path_prefix) NULLS NOT DISTINCT
    WHERE match_host IS NOT NULL OR match_path_prefix IS NOT NULL
    """,
    """
    CREATE TABLE versions (
        model text NOT NULL CONSTRAINT fk_versions_model REFERENCES models,
        name text NOT NULL,
        url text NOT NULL,
        health_path text,
        connect_s double precision NOT NULL,
        first_byte_s double precision NOT NULL,
        idle_s double precision NOT NULL,
        total_s double precision NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT pk_versions PRIMARY KEY (model, name)
    )
    """,
)

_ROUTES = (
    """
    CREATE TABLE routes (
        model text CONSTRAINT pk_routes PRIMARY KEY,
        generation bigint NOT NULL,
        stable text NOT NULL,
        weights_bp jsonb NOT NULL,
        latency_horizon_ms integer NOT NULL,
        CONSTRAINT fk_routes_model_stable FOREIGN KEY (model, stable) REFERENCES versions (model, name)
    )
    """,
    """
    CREATE TABLE generations (
        model text NOT NULL CONSTRAINT fk_generations_model REFERENCES models,
        generation bigint NOT NULL,
        at timestamptz NOT NULL,
        stable text NOT NULL,
        weights_bp jsonb NOT NULL,
        CONSTRAINT pk_generations PRIMARY KEY (model, generation)
    )
    """,
    "CREATE INDEX ix_generations_model_at ON generations (model, at)",
    """
    CREATE TABLE routing (
        one smallint CONSTRAINT pk_routing PRIMARY KEY,
        revision bigint NOT NULL,
        CONSTRAINT ck_routing_one_row CHECK (one = 1)
    )
    """,
    "INSERT INTO routing VALUES (1, 0)",
)

_ROLLOUTS = (
    """
    CREATE TABLE rollouts (
        id uuid CONSTRAINT pk_rollouts PRIMARY KEY,
        model text NOT NULL,
        stable text NOT NULL,
        canary text NOT NULL,
        phase text NOT NULL,
        weight_bp integer NOT NULL,
        generation bigint NOT NULL,
        started_generation bigint NOT NULL,
        started_at timestamptz NOT NULL,
        ended_at timestamptz,
        state jsonb NOT NULL,
        CONSTRAINT fk_rollouts_model_stable FOREIGN KEY (model, stable) REFERENCES versions (model, name),
        CONSTRAINT fk_rollouts_model_canary FOREIGN KEY (model, canary) REFERENCES versions (model, name)
    )
    """,
    "CREATE UNIQUE INDEX uq_rollouts_active ON rollouts (model) WHERE ended_at IS NULL",
    "CREATE INDEX ix_rollouts_model_id ON rollouts (model, id)",
    """
    CREATE TABLE decisions (
        id uuid CONSTRAINT pk_decisions PRIMARY KEY,
        model text NOT NULL CONSTRAINT fk_decisions_model REFERENCES models,
        rollout_id uuid CONSTRAINT fk_decisions_rollout_id REFERENCES rollouts,
        at timestamptz NOT NULL,
        action text NOT NULL,
        actor text NOT NULL,
        trigger text NOT NULL,
        reason text,
        sentence text NOT NULL,
        generation_before bigint NOT NULL,
        generation_after bigint NOT NULL,
        weights_before jsonb NOT NULL,
        weights_after jsonb NOT NULL,
        evidence jsonb NOT NULL,
        CONSTRAINT uq_decisions_model_generation_after UNIQUE (model, generation_after)
    )
    """,
    "CREATE INDEX ix_decisions_model_id ON decisions (model, id)",
    """
    CREATE TABLE audit (
        id uuid CONSTRAINT pk_audit PRIMARY KEY,
        at timestamptz NOT NULL,
        actor text NOT NULL,
        action text NOT NULL,
        model text NOT NULL,
        version text,
        reason text,
        decision_id uuid
    )
    """,
)

_TALLIES = (
    """
    CREATE TABLE replicas (
        boot uuid CONSTRAINT pk_replicas PRIMARY KEY,
        role text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        heartbeat timestamptz NOT NULL,
        status_through bigint NOT NULL,
        latency_through bigint NOT NULL,
        applied_revision bigint NOT NULL,
        open_brakes jsonb NOT NULL
    )
    """,
    """
    CREATE TABLE tallies (
        boot uuid NOT NULL,
        second bigint NOT NULL,
        model text NOT NULL,
        generation bigint NOT NULL,
        version text NOT NULL,
        exchanges integer NOT NULL,
        ok integer NOT NULL,
        client_error integer NOT NULL,
        upstream_error integer NOT NULL,
        connect_error integer NOT NULL,
        timeout integer NOT NULL,
        cancelled integer NOT NULL,
        excluded integer NOT NULL,
        latency_bins smallint[] NOT NULL,
        latency_counts integer[] NOT NULL,
        sequence bigint NOT NULL,
        CONSTRAINT pk_tallies PRIMARY KEY (boot, second, model, generation, version)
    ) PARTITION BY RANGE (second)
    """,
    "CREATE INDEX ix_tallies_model_second ON tallies (model, second)",
    "CREATE TABLE tallies_default PARTITION OF tallies DEFAULT",
)
