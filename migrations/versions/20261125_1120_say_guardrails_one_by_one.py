"""Say a policy's guardrails one by one, and rewrite what stored rollouts and decisions say.

Done with JSON operators alone, so that no number is parsed on the way.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in (*_UP, *_REWRITE):
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in (*_DOWN, *_REWRITE):
        op.execute(statement)


_REWRITE = (
    """
    UPDATE rollouts SET state = state || jsonb_build_object(
        'policy', pg_temp.rewritten_policy(state -> 'policy'),
        'evidence', pg_temp.rewritten_evidence(state -> 'evidence')
    )
    """,
    """
    UPDATE decisions SET evidence = evidence || jsonb_build_object(
        'policy', pg_temp.rewritten_policy(evidence -> 'policy')
    )
    WHERE jsonb_typeof(evidence -> 'policy') = 'object'
    """,
    "DROP FUNCTION pg_temp.rewritten_policy, pg_temp.rewritten_evidence",
)

_UP = (
    """
    CREATE FUNCTION pg_temp.rewritten_policy(policy jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        SELECT (policy - ARRAY[
            'metrics', 'latency_margin', 'latency_floor_ms', 'slo_quantile', 'error_margin', 'error_margin_floor',
            'exposure_budget'
        ]) || jsonb_build_object(
            'max_extra_bad', policy -> 'exposure_budget',
            'on_deadline', replace(policy ->> 'on_deadline', 'roll_back', 'rollback'),
            'guardrails', (
                SELECT jsonb_agg(
                    jsonb_build_object(
                        'metric', metric,
                        'on_regression', 'rollback',
                        'required', true,
                        'dry_run', false,
                        'margin', policy -> CASE metric
                            WHEN 'errors' THEN 'error_margin' WHEN 'latency' THEN 'latency_margin' END,
                        'floor', policy -> CASE metric
                            WHEN 'errors' THEN 'error_margin_floor' WHEN 'latency' THEN 'latency_floor_ms' END,
                        'quantile', CASE metric WHEN 'latency' THEN policy -> 'slo_quantile' END
                    )
                    ORDER BY place
                )
                FROM jsonb_array_elements_text(policy -> 'metrics') WITH ORDINALITY AS named (metric, place)
            )
        )
    $$
    """,
    """
    CREATE FUNCTION pg_temp.rewritten_evidence(evidence jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        SELECT (evidence - ARRAY['levels', 'latency_margin', 'latency_floor_ms']) || jsonb_build_object('limits', (
            SELECT jsonb_agg(
                jsonb_build_object(
                    'level', level,
                    'margin', evidence -> 'latency_margin',
                    'floor_ms', evidence -> 'latency_floor_ms'
                )
                ORDER BY place
            )
            FROM jsonb_array_elements(evidence -> 'levels') WITH ORDINALITY AS named (level, place)
        ))
    $$
    """,
)

# What the older form cannot say is dropped: ceilings, dry runs, and guardrails that only hold or warn; errors stay.
_DOWN = (
    """
    CREATE FUNCTION pg_temp.rewritten_policy(policy jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        WITH live AS (
            SELECT guardrail ->> 'metric' AS metric, guardrail, place
            FROM jsonb_array_elements(policy -> 'guardrails') WITH ORDINALITY AS named (guardrail, place)
            WHERE NOT (guardrail -> 'dry_run')::boolean
        )
        SELECT (policy - ARRAY['guardrails', 'max_extra_bad', 'error_ceiling', 'deadline_margin'])
        || jsonb_build_object(
            'exposure_budget', policy -> 'max_extra_bad',
            'on_deadline', CASE policy ->> 'on_deadline' WHEN 'rollback' THEN 'roll_back' ELSE 'hold' END,
            'metrics', (
                SELECT jsonb_agg(metric ORDER BY place) FROM live
                WHERE metric = 'errors' OR guardrail ->> 'on_regression' = 'rollback'
            ),
            'error_margin', (SELECT guardrail -> 'margin' FROM live WHERE metric = 'errors'),
            'error_margin_floor', (SELECT guardrail -> 'floor' FROM live WHERE metric = 'errors'),
            'latency_margin', coalesce((SELECT guardrail -> 'margin' FROM live WHERE metric = 'latency'), '0.25'),
            'latency_floor_ms', coalesce((SELECT guardrail -> 'floor' FROM live WHERE metric = 'latency'), '5.0'),
            'slo_quantile', coalesce((SELECT guardrail -> 'quantile' FROM live WHERE metric = 'latency'), '0.95')
        )
    $$
    """,
    # Limits of the first margin stay with their thresholds; further counts of slow answers are never read.
    """
    CREATE FUNCTION pg_temp.rewritten_evidence(evidence jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
        WITH kept AS (
            SELECT named."limit", place
            FROM jsonb_array_elements(evidence -> 'limits') WITH ORDINALITY AS named ("limit", place)
            WHERE named."limit" - 'level' = (evidence #> '{limits,0}') - 'level'
        )
        SELECT (evidence - ARRAY['limits']) || jsonb_build_object(
            'levels', (SELECT jsonb_agg(kept."limit" -> 'level' ORDER BY place) FROM kept),
            'latency_margin', evidence #> '{limits,0,margin}',
            'latency_floor_ms', evidence #> '{limits,0,floor_ms}',
            'thresholds', (
                SELECT coalesce(jsonb_agg(threshold ORDER BY place), '[]')
                FROM jsonb_array_elements(evidence -> 'thresholds') WITH ORDINALITY AS named (threshold, place)
                WHERE place <= (SELECT count(*) FROM kept)
            )
        )
    $$
    """,
)
