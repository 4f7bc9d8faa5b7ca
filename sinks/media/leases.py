"""Leases: who works on a medium, for how long at most, and the token by which the others know who came last.

All by the database's clock. A token is the greatest of the milliseconds since 1970 and one more than any that was
given, or is known of a run, of the same medium: so it grows even where the table of leases was lost.
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from sinks.schema import media_leases, media_runs
from sinks.schema.base import Now
from sinks.standing import read_time
from sinks.writers import make_writer
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import render
from tallystick.errors import FencedError, LeaseHeldError

_lease = media_leases.c


def take(engine: sa.Engine, medium: str, what: str, *, holder: str, seconds: float) -> int:
    """Take the lease on `what` of a medium for so many seconds, and return its token, the run.

    Raises LeaseHeldError where it is held, whoever holds it. A lease that has expired, or was released, is free.
    """
    with engine.begin() as connection:
        make_writer(engine).alone(connection, f"leases of {medium}")
        now = _now(connection)
        held = connection.execute(
            sa.select(_lease.holder, _lease.expires_at).where(_lease.medium == medium, _lease.what == what)
        ).first()
        if held is not None and _read(held.expires_at) > now:
            raise LeaseHeldError(
                f"{what} of medium {medium} is held by {printable(held.holder)} until {read_time(held.expires_at)}:"
                " wait for it, or end it"
            )
        run = max(_greatest(connection, medium) + 1, int(now.timestamp() * 1_000))
        values = {"run": run, "holder": printable(holder), "expires_at": _expiry(engine, now, seconds)}
        _put(connection, {"medium": medium, "what": what, **values})
    return run


def renew(engine: sa.Engine, medium: str, what: str, *, run: int, seconds: float) -> None:
    """Hold the lease of the token `run` for so many seconds from now, also one that has expired meanwhile.

    Raises FencedError where another has taken it.
    """
    with engine.begin() as connection:
        # The clock is read before the row is locked: the lease may only be shorter for it.
        expiry = _expiry(engine, _now(connection), seconds)
        renewed = connection.execute(_mine(medium, what, run).values(expires_at=expiry)).rowcount
    if not renewed:
        raise FencedError(
            f"{what} of medium {medium}: another process has taken the lease that run {run} had; this one must end"
        )


def release(engine: sa.Engine, medium: str, what: str, *, run: int) -> None:
    """Let go of the lease of the token `run`; nothing happens where another has taken it."""
    with engine.begin() as connection:
        connection.execute(_mine(medium, what, run).values(expires_at=_expiry(engine, _now(connection), 0)))


def _mine(medium: str, what: str, run: int) -> sa.Update:
    return media_leases.update().where(_lease.medium == medium, _lease.what == what, _lease.run == run)


def _greatest(connection: sa.Connection, medium: str) -> int:
    tokens = (
        connection.scalar(sa.select(sa.func.max(table.c.run)).where(table.c.medium == medium))
        for table in (media_leases, media_runs)
    )
    return max(int(token or 0) for token in tokens)


def _put(connection: sa.Connection, row: dict[str, object]) -> None:
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    changed = {name: row[name] for name in ("run", "holder", "expires_at")}
    connection.execute(
        make(media_leases).values(row).on_conflict_do_update(index_elements=[_lease.medium, _lease.what], set_=changed)
    )


def _now(connection: sa.Connection) -> datetime:
    """Return the present time of the database; not the transaction's, which may have waited."""
    postgresql_now = connection.dialect.name == "postgresql"
    return _read(connection.scalar(sa.select(sa.func.clock_timestamp() if postgresql_now else Now())))


def _read(value: datetime | str | None) -> datetime:
    return datetime.fromisoformat(read_time(value)).astimezone(UTC)


def _expiry(engine: sa.Engine, now: datetime, seconds: float) -> datetime | str:
    expiry = now + timedelta(seconds=seconds)
    return expiry if engine.dialect.name == "postgresql" else render(expiry)
