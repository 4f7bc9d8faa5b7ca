"""No statistics of JSON and bytes: no plan asks for them, and gathering them took a tenth of a load's time."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = {"raw_events": ("payload", "raw"), "session_summaries": ("source_files", "kinds", "cut", "enrichment")}


def upgrade() -> None:
    """See Alembic."""
    _set_target(0)


def downgrade() -> None:
    """See Alembic."""
    _set_target(-1)


def _set_target(target: int) -> None:
    if op.get_context().dialect.name == "postgresql":
        for table, columns in _COLUMNS.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS {target}")
