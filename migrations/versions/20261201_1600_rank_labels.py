"""Keep how a label named its exchange, which with its source is its rank; index only the ids that clients chose.

Of labels that are there nobody knows how they came, so that one without a key counts as the lowest: a receipt may
still replace it. Those that wait without a key by a name that could be foretold are dropped.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
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
    "ALTER TABLE labels ADD by_receipt boolean NOT NULL DEFAULT false",
    "DELETE FROM parked_labels WHERE source = 'anonymous'",
    "DROP INDEX ix_answers_model_request_id",
    """
    CREATE INDEX ix_answers_model_request_id ON answers (model, request_id)
        WHERE request_id <> replace(exchange::text, '-', '')
    """,
)

_DOWN = (
    "DROP INDEX ix_answers_model_request_id",
    "CREATE INDEX ix_answers_model_request_id ON answers (model, request_id)",
    # The release before reads no such name, and would never drop what waits by it.
    "DELETE FROM parked_labels WHERE named_by = 'exchange'",
    "ALTER TABLE labels DROP by_receipt",
)
