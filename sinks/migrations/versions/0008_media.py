"""Media: what they are, what is on them, what was copied, who worked on them; and how far an attempt goes."""

import sqlalchemy as sa
from alembic import op

# What these mean never changes; a new meaning gets a new name.
from sinks.schema.base import JSON, MOMENT, NUMBER, Now

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = (
    "media",
    "media_inodes",
    "media_paths",
    "media_problems",
    "media_copies",
    "media_blobs",
    "media_runs",
    "media_leases",
)


def upgrade() -> None:
    """Make the tables, and the column that sources gain."""
    op.add_column(
        "sources",
        sa.Column(
            "until", sa.Text, nullable=False, server_default="", comment="the last stage of the attempt, if not all"
        ),
    )
    op.create_table(
        "media",
        sa.Column("medium", sa.Text, primary_key=True, comment="32 hexadecimal digits; also the id of its source"),
        sa.Column("revision", NUMBER, nullable=False, comment="the attempt that identified it last"),
        sa.Column("form", sa.Text, nullable=False, comment="device, image, tree or listing"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False, comment="path of the device, image, folder or listing"),
        sa.Column(
            "image", sa.LargeBinary, nullable=False, comment="path of the file that holds its bytes; may be empty"
        ),
        sa.Column("map", sa.LargeBinary, nullable=False, comment="path of ddrescue's map; may be empty"),
        sa.Column("size", NUMBER, nullable=False, comment="bytes"),
        sa.Column("digest", sa.Text, nullable=False, comment="BLAKE3 of the whole image or listing; may be empty"),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False, comment="what the one who ingested it had to say"),
        sa.Column("acknowledged", sa.Text, nullable=False, comment="why losses are accepted; empty where they are not"),
        sa.Column("grows", sa.Boolean, nullable=False, comment="whether an enumeration may differ from the last one"),
        sa.Column("identified_at", MOMENT, nullable=False),
        sa.Column("added_at", MOMENT, nullable=False, server_default=Now()),
        sa.CheckConstraint("length(medium) = 32 AND medium = lower(medium)", name="ck_media_medium"),
    )
    op.create_table(
        "media_inodes",
        sa.Column("medium", sa.Text, nullable=False),
        sa.Column("part", sa.Integer, nullable=False, comment="which file system of the medium"),
        sa.Column("ino", NUMBER, nullable=False),
        sa.Column("revision", NUMBER, nullable=False, comment="the attempt that enumerated it last"),
        sa.Column("dev", NUMBER, nullable=False),
        sa.Column("type", sa.Text, nullable=False, comment="as find -printf %y: f d l b c p s"),
        sa.Column("nlink", NUMBER, nullable=False),
        sa.Column("size", NUMBER, nullable=False, comment="bytes"),
        sa.Column("mtime", NUMBER, nullable=False, comment="seconds since 1970, may be negative"),
        sa.Column("mtime_ns", NUMBER, nullable=False, comment="the nanoseconds in it"),
        sa.Column("allocated", NUMBER, comment="bytes, where it is known: fewer than size in a sparse file"),
        sa.Column("mode", NUMBER),
        sa.Column("uid", NUMBER),
        sa.Column("gid", NUMBER),
        sa.Column("rdev", NUMBER, nullable=False),
        sa.Column("marks", JSON, nullable=False, comment="words such as damaged, fs_metadata"),
        sa.PrimaryKeyConstraint("medium", "part", "ino", name="pk_media_inodes"),
    )
    op.create_table(
        "media_paths",
        sa.Column("medium", sa.Text, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column(
            "path_digest",
            sa.LargeBinary,
            nullable=False,
            comment="the path's BLAKE3, 16 bytes: no index holds every path",
        ),
        sa.Column("path", sa.LargeBinary, nullable=False, comment="bytes below the root, which itself is '.'"),
        sa.Column("revision", NUMBER, nullable=False, comment="the attempt that enumerated it last"),
        sa.Column("ino", NUMBER, nullable=False),
        sa.Column("target", sa.LargeBinary, nullable=False, comment="of a symbolic link"),
        sa.Column("excluded", sa.Text, nullable=False, comment="pattern:<id> of the rule that excludes it, or empty"),
        sa.PrimaryKeyConstraint("medium", "part", "path_digest", name="pk_media_paths"),
    )
    op.create_table(
        "media_problems",
        sa.Column("medium", sa.Text, nullable=False),
        sa.Column("position", NUMBER, nullable=False, comment="of the record in the enumeration"),
        sa.Column("revision", NUMBER, nullable=False, comment="the attempt that enumerated it"),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("ino", NUMBER, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("medium", "position", name="pk_media_problems"),
    )
    op.create_table(
        "media_copies",
        sa.Column("medium", sa.Text, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("ino", NUMBER, nullable=False),
        sa.Column("revision", NUMBER, nullable=False, comment="the run that copied it last"),
        sa.Column("status", sa.Text, nullable=False, comment="success, failed_retryable or failed_permanent"),
        sa.Column("blobid", sa.Text, comment="BLAKE3 of the content, 64 hexadecimal digits; only of a success"),
        sa.Column("sha256", sa.Text),
        sa.Column("size", NUMBER, nullable=False, comment="bytes that were read"),
        sa.Column("created", sa.Boolean, nullable=False, comment="whether the store did not have it before"),
        sa.Column("error", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False, comment="the path that was read"),
        sa.Column("copied_at", MOMENT, nullable=False),
        sa.Column(
            "mtime", NUMBER, comment="the inode's when it was read, seconds since 1970; empty where it is not known"
        ),
        sa.Column("mtime_ns", NUMBER, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("medium", "part", "ino", name="pk_media_copies"),
        sa.CheckConstraint("(status = 'success') = (blobid IS NOT NULL)", name="ck_media_copies_success"),
    )
    op.create_table(
        "media_blobs",
        sa.Column("blobid", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", NUMBER, nullable=False, comment="bytes"),
        sa.Column("created_at", MOMENT, nullable=False, server_default=Now()),
    )
    op.create_table(
        "media_runs",
        sa.Column("medium", sa.Text, nullable=False),
        sa.Column("run", NUMBER, nullable=False, comment="fencing token: only ever grows for a medium"),
        sa.Column("revision", NUMBER, nullable=False, comment="1 once it has ended"),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("attempt", NUMBER, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("seconds", sa.Float, nullable=False, comment="of a monotonic clock"),
        sa.Column("exit_code", sa.Integer, comment="negative for a signal; empty while it runs"),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.PrimaryKeyConstraint("medium", "run", name="pk_media_runs"),
    )
    op.create_table(
        "media_leases",
        sa.Column("medium", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False, comment="ingest, or a stage"),
        sa.Column("run", NUMBER, nullable=False, comment="fencing token of the one who holds it, or held it last"),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False, comment="by the database's clock"),
        sa.PrimaryKeyConstraint("medium", "what", name="pk_media_leases"),
    )
    op.create_index("ix_media_paths_inode", "media_paths", ["medium", "part", "ino"])
    op.create_index("ix_media_copies_blobid", "media_copies", ["blobid"])


def downgrade() -> None:
    """Remove them."""
    for table in _TABLES:
        op.drop_table(table)
    op.drop_column("sources", "until")
