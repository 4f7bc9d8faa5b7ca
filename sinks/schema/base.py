"""What all tables share: the metadata, and types that mean the same on PostgreSQL and SQLite."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

metadata = sa.MetaData()

MOMENT = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
"""A point in time: `timestamptz`, or canonical text (`contracts/timestamps.py`), which sorts alike."""

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
"""JSON: `jsonb`, or text."""

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""An integer of 64 bits, which SQLite knows as INTEGER only."""


class Now(FunctionElement[str]):
    """The present time, as `MOMENT` holds it."""

    inherit_cache = True
    type = MOMENT


@compiles(Now, "postgresql")
def _now_postgresql(_element: Now, _compiler: Any, **_options: Any) -> str:
    return "now()"


@compiles(Now, "sqlite")
def _now_sqlite(_element: Now, _compiler: Any, **_options: Any) -> str:
    return "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"


def session_columns() -> tuple[sa.Column[str], sa.Column[str]]:
    """Return the two columns that name a session."""
    return sa.Column("sensor", sa.Text, nullable=False), sa.Column("session_id", sa.Text, nullable=False)


def count_column(name: str, comment: str | None = None) -> sa.Column[int]:
    """Return a column that counts from 0."""
    return sa.Column(name, NUMBER, nullable=False, server_default="0", comment=comment)
