"""Count every outcome of an arm by its name, and say in a field whether each caller counts once.

Outcomes that were summed up before are told apart as far as they were: errors become upstream errors, and answers that
were neither wrong nor late become ok ones. Decisions are a record and stay as they were written.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in (_ARM_UP, _EVIDENCE_UP, *_REWRITE):
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in (_ARM_DOWN, _EVIDENCE_DOWN, *_REWRITE):
        op.execute(statement)


_REWRITE = (
    """
    UPDATE rollouts SET state = state || jsonb_build_object(
        'evidence', pg_temp.rewritten_evidence(state -> 'evidence')
    )
    """,
    "DROP FUNCTION pg_temp.rewritten_evidence, pg_temp.rewritten_arm",
)

_ARM_UP = """
    CREATE FUNCTION pg_temp.rewritten_arm(arm jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        SELECT (arm - ARRAY['ended', 'judged', 'errors', 'timeouts']) || jsonb_build_object('outcomes', (
            SELECT coalesce(jsonb_object_agg(outcome, n) FILTER (WHERE n <> 0), '{}')
            FROM (VALUES
                ('ok', (arm -> 'judged')::bigint - (arm -> 'errors')::bigint - (arm -> 'timeouts')::bigint),
                ('upstream_error', (arm -> 'errors')::bigint),
                ('timeout', (arm -> 'timeouts')::bigint),
                ('cancelled', (arm -> 'ended')::bigint - (arm -> 'judged')::bigint)
            ) AS told (outcome, n)
        ))
    $$
"""

_ARM_DOWN = """
    CREATE FUNCTION pg_temp.rewritten_arm(arm jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        SELECT (arm - ARRAY['outcomes']) || (
            SELECT jsonb_build_object(
                'ended', coalesce(sum(n), 0),
                'judged', coalesce(sum(n) FILTER (WHERE outcome <> 'cancelled'), 0),
                'errors', coalesce(
                    sum(n) FILTER (WHERE outcome IN ('upstream_error', 'connect_error', 'overloaded')), 0
                ),
                'timeouts', coalesce(sum(n) FILTER (WHERE outcome = 'timeout'), 0)
            )
            FROM (SELECT key, value::bigint FROM jsonb_each(arm -> 'outcomes')) AS told (outcome, n)
        )
    $$
"""

_BY_WEIGHT = """
    'by_weight', (
        SELECT coalesce(jsonb_object_agg(key, jsonb_build_object(
            'canary', pg_temp.rewritten_arm(value -> 'canary'), 'stable', pg_temp.rewritten_arm(value -> 'stable')
        )), '{}')
        FROM jsonb_each(evidence -> 'by_weight')
    )
"""

_EVIDENCE_UP = f"""
    CREATE FUNCTION pg_temp.rewritten_evidence(evidence jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        SELECT evidence || jsonb_build_object(
            'per_caller', coalesce(jsonb_typeof(evidence -> 'recent_exchanges') = 'array', false),
            'recent_exchanges', coalesce(nullif(evidence -> 'recent_exchanges', 'null'), '[]'),
            {_BY_WEIGHT}
        )
    $$
"""

_EVIDENCE_DOWN = f"""
    CREATE FUNCTION pg_temp.rewritten_evidence(evidence jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        SELECT (evidence - ARRAY['per_caller', 'outcomes_before']) || jsonb_build_object(
            'recent_exchanges',
            CASE WHEN (evidence -> 'per_caller')::boolean THEN evidence -> 'recent_exchanges' ELSE 'null' END,
            {_BY_WEIGHT}
        )
    $$
"""
