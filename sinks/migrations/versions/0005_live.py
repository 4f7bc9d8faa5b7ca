"""How far a source that is still written to has been taken."""

import sqlalchemy as sa
from alembic import op

from sinks.schema.base import MOMENT, NUMBER

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add three columns to the sources."""
    op.add_column(
        "sources",
        sa.Column(
            "live_position",
            NUMBER,
            nullable=True,
            comment="of a source that is still written to: acknowledged up to here",
        ),
    )
    op.add_column(
        "sources",
        sa.Column("live_end", NUMBER, nullable=True, comment="where it ended when it was last heard of"),
    )
    op.add_column(
        "sources",
        sa.Column(
            "live_since",
            MOMENT,
            nullable=True,
            comment="since when what lies between the two has been there, at least",
        ),
    )


def downgrade() -> None:
    """Remove them."""
    for column in ("live_since", "live_end", "live_position"):
        op.drop_column("sources", column)
