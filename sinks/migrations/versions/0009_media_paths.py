"""Media: paths of any length, and of a copy when the file was changed last before it.

Nothing has filled these tables before, so the one whose key changes is made anew.
"""

import sqlalchemy as sa
from alembic import op

# What these mean never changes; a new meaning gets a new name.
from sinks.schema.base import NUMBER

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the digest of a path its key, and add the times."""
    _make_paths(
        "path_digest",
        sa.Column(
            "path_digest",
            sa.LargeBinary,
            nullable=False,
            comment="the path's BLAKE3, 16 bytes: no index holds every path",
        ),
    )
    op.add_column(
        "media_copies",
        sa.Column(
            "mtime", NUMBER, comment="the inode's when it was read, seconds since 1970; empty where it is not known"
        ),
    )
    op.add_column("media_copies", sa.Column("mtime_ns", NUMBER, nullable=False, server_default="0"))


def downgrade() -> None:
    """Make the path itself its key again, in an empty table, and remove the times."""
    op.drop_column("media_copies", "mtime_ns")
    op.drop_column("media_copies", "mtime")
    _make_paths("path")


def _make_paths(key: str, *more: "sa.Column[bytes]") -> None:
    op.drop_table("media_paths")
    op.create_table(
        "media_paths",
        sa.Column("medium", sa.Text, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        *more,
        sa.Column("path", sa.LargeBinary, nullable=False, comment="bytes below the root, which itself is '.'"),
        sa.Column("revision", NUMBER, nullable=False, comment="the attempt that enumerated it last"),
        sa.Column("ino", NUMBER, nullable=False),
        sa.Column("target", sa.LargeBinary, nullable=False, comment="of a symbolic link"),
        sa.Column("excluded", sa.Text, nullable=False, comment="pattern:<id> of the rule that excludes it, or empty"),
        sa.PrimaryKeyConstraint("medium", "part", key, name="pk_media_paths"),
    )
    op.create_index("ix_media_paths_inode", "media_paths", ["medium", "part", "ino"])
