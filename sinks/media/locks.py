"""One ingestion of a medium at a time: a lock that is gone with the process that holds it, however it ends."""

import fcntl
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from blake3 import blake3

from sinks.projection import projection_id


class MediumLocks:
    """Locks of media, held until it is left: in PostgreSQL by a session of its own, for SQLite by the kernel.

    A PostgreSQL that is started again has forgotten them. Then the fencing tokens of stages and the number of the
    attempt still tell who is late.
    """

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        """`folder` is for the lock files of SQLite; all processes that share a database must name the same."""
        self._engine, self._folder = engine, folder
        self._held = ExitStack()
        self._connection: sa.Connection | None = None
        self._projection = ""

    def __enter__(self) -> Self:
        self._projection = projection_id(self._engine)
        if self._engine.dialect.name == "postgresql":
            options = {"isolation_level": "AUTOCOMMIT"}
            self._connection = self._held.enter_context(self._engine.connect().execution_options(**options))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # a pooled session would keep its locks
        self._held.close()

    def take(self, medium: str) -> bool:
        """Return whether the lock of `medium` could be had: nobody else holds it. Raises what the database raises."""
        name = f"{self._projection}/{medium}"
        if self._connection is not None:
            key = int.from_bytes(blake3(name.encode()).digest()[:8], "big", signed=True)
            return bool(self._connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._held.enter_context((self._folder / name.replace("/", "-")).open("a"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
