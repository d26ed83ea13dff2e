"""Remember which brakes of a replica the audit has heard of."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE replicas ADD audited_brakes jsonb NOT NULL DEFAULT '[]'")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE replicas DROP audited_brakes")
