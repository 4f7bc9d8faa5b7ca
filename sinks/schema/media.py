"""Media: what they are, what is on them, what was copied, and who worked on them."""

import sqlalchemy as sa

from sinks.schema.base import JSON, MOMENT, NUMBER, Now, metadata


def _medium() -> sa.Column[str]:
    return sa.Column("medium", sa.Text, nullable=False)


def _revision(what: str) -> sa.Column[int]:
    return sa.Column("revision", NUMBER, nullable=False, comment=what)


media = sa.Table(
    "media",
    metadata,
    sa.Column("medium", sa.Text, primary_key=True, comment="32 hexadecimal digits; also the id of its source"),
    _revision("the attempt that identified it last"),
    sa.Column("form", sa.Text, nullable=False, comment="device, image, tree or listing"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False, comment="path of the device, image, folder or listing"),
    sa.Column("image", sa.LargeBinary, nullable=False, comment="path of the file that holds its bytes; may be empty"),
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
    # PostgreSQL and SQLite agree on this form of it.
    sa.CheckConstraint("length(medium) = 32 AND medium = lower(medium)", name="ck_media_medium"),
)

media_inodes = sa.Table(
    "media_inodes",
    metadata,
    _medium(),
    sa.Column("part", sa.Integer, nullable=False, comment="which file system of the medium"),
    sa.Column("ino", NUMBER, nullable=False),
    _revision("the attempt that enumerated it last"),
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

media_paths = sa.Table(
    "media_paths",
    metadata,
    _medium(),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column(
        "path_digest", sa.LargeBinary, nullable=False, comment="the path's BLAKE3, 16 bytes: no index holds every path"
    ),
    sa.Column("path", sa.LargeBinary, nullable=False, comment="bytes below the root, which itself is '.'"),
    _revision("the attempt that enumerated it last"),
    sa.Column("ino", NUMBER, nullable=False),
    sa.Column("target", sa.LargeBinary, nullable=False, comment="of a symbolic link"),
    sa.Column("excluded", sa.Text, nullable=False, comment="pattern:<id> of the rule that excludes it, or empty"),
    sa.PrimaryKeyConstraint("medium", "part", "path_digest", name="pk_media_paths"),
    sa.Index("ix_media_paths_inode", "medium", "part", "ino"),
)

media_problems = sa.Table(
    "media_problems",
    metadata,
    _medium(),
    sa.Column("position", NUMBER, nullable=False, comment="of the record in the enumeration"),
    _revision("the attempt that enumerated it"),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("ino", NUMBER, nullable=False),
    sa.Column("path", sa.LargeBinary, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("medium", "position", name="pk_media_problems"),
)

media_copies = sa.Table(
    "media_copies",
    metadata,
    _medium(),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("ino", NUMBER, nullable=False),
    _revision("the run that copied it last"),
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
    sa.Column("mtime", NUMBER, comment="the inode's when it was read, seconds since 1970; empty where it is not known"),
    sa.Column("mtime_ns", NUMBER, nullable=False, server_default="0"),
    sa.PrimaryKeyConstraint("medium", "part", "ino", name="pk_media_copies"),
    sa.CheckConstraint("(status = 'success') = (blobid IS NOT NULL)", name="ck_media_copies_success"),
    sa.Index("ix_media_copies_blobid", "blobid"),
)

media_blobs = sa.Table(
    "media_blobs",
    metadata,
    sa.Column("blobid", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", NUMBER, nullable=False, comment="bytes"),
    sa.Column("created_at", MOMENT, nullable=False, server_default=Now()),
)

media_runs = sa.Table(
    "media_runs",
    metadata,
    _medium(),
    sa.Column("run", NUMBER, nullable=False, comment="fencing token: only ever grows for a medium"),
    _revision("1 once it has ended"),
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

media_leases = sa.Table(
    "media_leases",
    metadata,
    sa.Column("medium", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False, comment="ingest, or a stage"),
    sa.Column("run", NUMBER, nullable=False, comment="fencing token of the one who holds it, or held it last"),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", MOMENT, nullable=False, comment="by the database's clock"),
    sa.PrimaryKeyConstraint("medium", "what", name="pk_media_leases"),
)
"""Who works on a medium: no projection, and empty in a database that is filled anew."""
