"""Which errors of a database are tried again, and which make a dead letter."""

import sqlite3

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from tallystick.database.errors import is_bad_data, is_transient, told_plainly
from tallystick.errors import ServiceError


def sqlite(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("x")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "by SQLAlchemy"])
@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        pytest.param(psycopg.OperationalError("server closed the connection"), "passes", id="connection lost"),
        pytest.param(errors.AdminShutdown(), "passes", id="server shuts down"),
        pytest.param(errors.DeadlockDetected(), "passes", id="deadlock"),
        pytest.param(errors.DiskFull(), "passes", id="disk full"),
        pytest.param(errors.UniqueViolation(), "passes", id="somebody else was faster"),
        pytest.param(errors.InvalidTextRepresentation(), "data", id="not what the type takes"),
        pytest.param(errors.NumericValueOutOfRange(), "data", id="too large a number"),
        pytest.param(errors.ProgramLimitExceeded(), "data", id="too large for an index"),
        pytest.param(errors.CheckViolation(), "data", id="a constraint"),
        pytest.param(psycopg.DataError("NUL"), "data", id="the driver refuses the value"),
        pytest.param(errors.UndefinedTable(), "neither", id="no such table"),
        pytest.param(errors.InsufficientPrivilege(), "neither", id="no privilege"),
        pytest.param(sqlite(sqlite3.OperationalError, sqlite3.SQLITE_BUSY), "passes", id="SQLite is busy"),
        pytest.param(sqlite(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT_CHECK), "data", id="SQLite: constraint"),
        pytest.param(sqlite(sqlite3.OperationalError, sqlite3.SQLITE_ERROR), "neither", id="SQLite: wrong SQL"),
        pytest.param(OverflowError("too large"), "data", id="SQLite: more than 64 bits"),
        pytest.param(KeyError("bug"), "neither", id="our own mistake"),
    ],
)
def test_errors(error: Exception, verdict: str, *, wrapped: bool) -> None:
    seen = DBAPIError("statement", {}, error) if wrapped else error
    assert (is_transient(seen), is_bad_data(seen)) == (verdict == "passes", verdict == "data")


def test_a_command_tells_plainly_what_the_database_refuses() -> None:
    with (
        pytest.raises(ServiceError, match=r"^the database can't be used: not here, try elsewhere; check"),
        told_plainly(),
    ):
        raise DBAPIError("statement", {}, psycopg.OperationalError("not here,\n\ttry elsewhere"))


def test_a_command_lets_its_own_mistakes_pass() -> None:
    with pytest.raises(KeyError), told_plainly():
        raise KeyError
