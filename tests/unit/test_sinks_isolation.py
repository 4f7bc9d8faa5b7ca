"""One entry that can't be stored is found and set aside; the others are stored as if it weren't there."""

import sqlite3
from collections.abc import Iterator, Sequence

import pytest
import sqlalchemy as sa

from sinks.counting import INSERTED, REFUSED
from sinks.isolation import MOST_REFUSED, write_isolating
from tallystick.errors import ServiceError


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as made:
        made.exec_driver_sql("CREATE TABLE t (n integer CHECK (n >= 0))")
        yield made


def write(connection: sa.Connection, entries: Sequence[int]) -> bytes:
    connection.execute(sa.text("INSERT INTO t VALUES (:n)"), [{"n": entry} for entry in entries])
    return bytes([INSERTED]) * len(entries)


@pytest.mark.parametrize(
    ("entries", "refused"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1, 2, 3], [], id="all are fine"),
        pytest.param([-1], [0], id="the only one"),
        pytest.param([-1, 2, 3, 4, -5, 6, -7], [0, 4, 6], id="first, middle and last"),
        pytest.param([-1, -2, -3], [0, 1, 2], id="all of a few"),
        pytest.param([1, 1 << 70, 3], [1], id="one that the driver refuses"),
    ],
)
def test_what_is_refused_stands_alone(connection: sa.Connection, entries: list[int], refused: list[int]) -> None:
    fates, reasons = write_isolating(connection, entries, write)
    assert list(reasons) == refused
    assert [place for place, fate in enumerate(fates) if fate == REFUSED] == refused
    stored = connection.execute(sa.text("SELECT n FROM t ORDER BY rowid")).scalars().all()
    assert stored == [entry for place, entry in enumerate(entries) if place not in refused]
    assert all("CHECK" in reason or "large" in reason for reason in reasons.values())


def test_an_error_that_is_not_about_the_data_is_raised(connection: sa.Connection) -> None:
    def fail(connection: sa.Connection, entries: Sequence[int]) -> bytes:
        connection.exec_driver_sql("INSERT INTO missing VALUES (1)")
        return b""

    with pytest.raises(sa.exc.OperationalError, match="no such table"):
        write_isolating(connection, [1, 2], fail)


def test_a_database_that_refuses_everything_is_an_error_and_not_so_many_dead_letters(
    connection: sa.Connection,
) -> None:
    def refuse(_connection: sa.Connection, _entries: Sequence[int]) -> bytes:
        raise sa.exc.IntegrityError("x", {}, _constraint())

    with pytest.raises(ServiceError, match="refuses everything"):
        write_isolating(connection, range(MOST_REFUSED), refuse)


def _constraint() -> sqlite3.IntegrityError:
    error = sqlite3.IntegrityError("CHECK constraint failed")
    error.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_CHECK
    return error
