"""AT Protocol: snapshots that have all records of some collections, after which the others of these are gone."""

import sqlalchemy as sa
from alembic import op

from sinks.schema.base import NUMBER

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """See Alembic."""
    op.add_column(
        "atproto_snapshots",
        sa.Column(
            "collections",
            sa.Text,
            nullable=False,
            server_default="",
            comment="of a part that has all records of some: their names and patterns, as JSON; else empty",
        ),
    )
    op.create_table(
        "atproto_fetched_parts",
        sa.Column("did", sa.Text, nullable=False),
        sa.Column("part", sa.Text, nullable=False, comment="BLAKE3 of collections, 16 bytes in hexadecimal digits"),
        sa.Column("collections", sa.Text, nullable=False, comment="their names and patterns, as JSON"),
        sa.Column("revision", NUMBER, nullable=False, comment="rev as a number"),
        sa.Column("rev", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("did", "part", name="pk_atproto_fetched_parts"),
    )


def downgrade() -> None:
    """See Alembic."""
    op.drop_table("atproto_fetched_parts")
    op.drop_column("atproto_snapshots", "collections")
