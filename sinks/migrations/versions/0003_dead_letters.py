"""Dead letters: which of two at one position, which record held it, who resolved it, and what was tried again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
import xxhash
from alembic import op
from alembic.operations import BatchOperations

# What these mean never changes; a new meaning gets a new name.
from sinks.schema.base import JSON, MOMENT, NUMBER, Now

revision = "0003"
down_revision = "0005"
branch_labels = None
depends_on = None

_ROWS_AT_ONCE = 25
"""Each may have 8 MiB."""
_TABLE = "dead_letter_events"
_UNIQUE = "uq_dead_letter_events"
_KEY = ("source_id", "source_offset", "origin", "piece", "topic", "partition")


def upgrade() -> None:
    """Add the columns, fill those that tell letters apart, and make the key of them."""
    for column in (
        sa.Column("digest", NUMBER, comment="xxh3-64 of the payload: a position may hold two in turn"),
        sa.Column("last", sa.Boolean(), comment="whether a letter ends here; the others lead up to it"),
        sa.Column("record_key", sa.Text(), nullable=False, server_default="", comment="the key of that record"),
        sa.Column("resolved_by", sa.Text(), comment="the retry that brought the event, or the user who resolved it"),
        sa.Column("note", sa.Text(), comment="what that user had to say"),
    ):
        op.add_column(_TABLE, column)
    _fill()
    with _altered(*_KEY) as batch:
        batch.alter_column("digest", existing_type=NUMBER, nullable=False)
        batch.alter_column("last", existing_type=sa.Boolean(), nullable=False)
        batch.drop_constraint(_UNIQUE, type_="unique")
        batch.create_unique_constraint(_UNIQUE, [*_KEY, "digest"])
    op.create_index("ix_dead_letter_events_record_key", _TABLE, ["record_key"], postgresql_using="hash")
    op.create_table(
        "dead_letter_retries",
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("source_offset", NUMBER, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("piece", sa.Integer(), nullable=False, comment="number of the letter's last piece"),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("digest", NUMBER, nullable=False, comment="of the letter's last piece"),
        sa.Column("retry_id", sa.Text(), nullable=False, comment="the source that brought the event"),
        sa.Column("retry_offset", NUMBER, nullable=False, comment="its position there"),
        sa.Column("persisted_at", MOMENT, server_default=Now(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "digest", name="pk_dead_letter_retries"),
    )


def downgrade() -> None:
    """Take it away again. Of two letters at one position the first one stays."""
    op.drop_table("dead_letter_retries")
    op.drop_index("ix_dead_letter_events_record_key", _TABLE)
    table = _letters(*_KEY, "digest")
    first = sa.select(sa.func.min(table.c.id)).group_by(*(table.c[name] for name in _KEY))
    op.execute(table.delete().where(table.c.id.not_in(first)))
    with _altered(*_KEY, "digest") as batch:
        batch.drop_constraint(_UNIQUE, type_="unique")
        batch.create_unique_constraint(_UNIQUE, list(_KEY))
        for name in ("digest", "last", "record_key", "resolved_by", "note"):
            batch.drop_column(name)


def _fill() -> None:
    connection, table = op.get_bind(), _letters(*_KEY)
    change = (
        table.update()
        .where(table.c.id == sa.bindparam("row_id"))
        .values(digest=sa.bindparam("new_digest"), last=sa.bindparam("new_last"))
    )
    for rows in _batches(connection, table):
        connection.execute(
            change,
            [
                {"row_id": row.id, "new_digest": _digest(row.payload), "new_last": bool(row.metadata_json["last"])}
                for row in rows
            ],
        )


def _batches(connection: sa.Connection, table: sa.Table) -> Iterator[list[Any]]:
    after = -1
    columns = (table.c.id, table.c.payload, table.c.metadata_json)
    while rows := list(
        connection.execute(sa.select(*columns).where(table.c.id > after).order_by(table.c.id).limit(_ROWS_AT_ONCE))
    ):
        yield rows
        after = rows[-1].id


def _digest(payload: bytes) -> int:
    digest = xxhash.xxh3_64_intdigest(payload)
    return digest - (1 << 64) if digest >> 63 else digest


@contextmanager
def _altered(*key: str) -> Iterator[BatchOperations]:
    """Change the table, whose unique constraint is over `key`; on SQLite, which can't change one, it is made anew."""
    if op.get_context().dialect.name != "sqlite":
        with op.batch_alter_table(_TABLE, recreate="never") as batch:
            yield batch
        return
    # Views name the table; with this they wait for the new one instead of refusing its name.
    op.execute("PRAGMA legacy_alter_table = ON")
    with op.batch_alter_table(_TABLE, copy_from=_letters(*key), recreate="always") as batch:
        yield batch
    op.execute("PRAGMA legacy_alter_table = OFF")


def _letters(*key: str) -> sa.Table:
    """Return the table with the new columns; `key` are those of its unique constraint."""
    return sa.Table(
        _TABLE,
        sa.MetaData(),
        sa.Column("id", NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("source_offset", NUMBER, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("piece", sa.Integer(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("metadata_json", JSON, nullable=False),
        sa.Column("created_at", MOMENT, server_default=Now(), nullable=False),
        sa.Column("resolved", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("resolved_at", MOMENT),
        sa.Column("digest", NUMBER),
        sa.Column("last", sa.Boolean()),
        sa.Column("record_key", sa.Text(), nullable=False, server_default=""),
        sa.Column("resolved_by", sa.Text()),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(*key, name=_UNIQUE),
    )
