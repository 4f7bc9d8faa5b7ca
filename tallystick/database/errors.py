"""Which errors of a database pass by themselves, and which are the data's fault."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError

from tallystick.errors import ServiceError

_PASSING_CLASSES = {"08", "40", "53", "57"}
_PASSING_STATES = {"55P03", "23505"}
_DATA_CLASSES = {"22", "23", "54"}
_PASSING_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_DATA_SQLITE = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}


def is_transient(error: BaseException) -> bool:
    """Return whether `error` may pass by itself: the server is away or overloaded, or a lock was in the way.

    So may a unique violation: whoever inserts looks first, so another process was faster.
    """
    if isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error, InterfaceError)):
        return True
    match _cause(error):
        case psycopg.Error(sqlstate=None) as cause:
            return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        case psycopg.Error(sqlstate=str(state)):
            return state[:2] in _PASSING_CLASSES or state in _PASSING_STATES
        case sqlite3.Error() as cause:
            return _sqlite_code(cause) in _PASSING_SQLITE
    return False


def is_bad_data(error: BaseException) -> bool:
    """Return whether `error` is about a value that was to be stored, so that the same without it would succeed."""
    match cause := _cause(error):
        case psycopg.Error(sqlstate=None):
            return isinstance(cause, psycopg.DataError)
        case psycopg.Error(sqlstate=str(state)):
            return state[:2] in _DATA_CLASSES and not is_transient(error)
        case sqlite3.Error():
            return _sqlite_code(cause) in _DATA_SQLITE
        case OverflowError() | UnicodeError():
            # Python's SQLite driver raises these for integers past 64 bits and for lone surrogates.
            return True
    return False


@contextmanager
def told_plainly() -> Iterator[None]:
    """Raise what the database refuses within as ServiceError, in one line: for commands, which do not try again."""
    try:
        yield
    except DBAPIError as error:
        said = " ".join(str(_cause(error)).split())
        raise ServiceError(f"the database can't be used: {said}; check that it is up, and database.url") from error


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _sqlite_code(error: sqlite3.Error) -> int:
    """Return the primary code: the low byte of the extended one. Errors of the driver itself have none."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF
