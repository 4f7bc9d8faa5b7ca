"""What is the same for every server of the local stack: start it or join it, wait until it answers, stop it.

Order of a start: 1. take the server's lock; 2. look for a live process, by pid file or by command line; 3. else prepare
its folder (install, ports, configuration); 4. start it and write the pid file; 5. wait until it answers; 6. let go.
"""

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import msgspec
from filelock import FileLock, Timeout

from tallystick.errors import ServiceError
from tallystick.local import processes
from tallystick.local.processes import Account, Identity

LOCK_SECONDS = 900.0
"""How long a command waits for another one that starts the same server; the first start downloads 43 MB."""
START_SECONDS = 300.0
STOP_SECONDS = 60.0


class Launch(msgspec.Struct, frozen=True):
    """How to start a server."""

    argv: list[str]
    account: Account | None = None


class Service(ABC):
    """A server of the local stack with everything it owns in one folder."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.record = folder / "server.pid"
        self.lock = folder / "lock"

    @abstractmethod
    def prepare(self) -> Launch:
        """Make the folder ready for a start and say how. Called under the lock, while the server is stopped.

        Raises ServiceError if a part is missing or can't be set up.
        """

    @abstractmethod
    def marks(self) -> tuple[str, ...]:
        """Return the arguments by which this server, and no other process, is known from its command line."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the server takes work now. Returns within seconds and never raises because it doesn't."""

    @abstractmethod
    def address(self) -> str:
        """Return where the server is reached, without secrets; an empty text if it has never been started."""

    def running(self) -> Identity | None:
        """Return the server's process if it lives, answering or not."""
        return processes.recorded(self.record)

    def memory_bytes(self) -> int | None:
        """Return the memory of the server and its children; None if it doesn't run or won't tell."""
        identity = self.running()
        return processes.memory_bytes(identity) if identity else None

    def start_or_join(self) -> bool:
        """Return when the server answers; tell whether this call has started it.

        However many processes call this at once, one starts the server and the others wait for it.
        Raises ServiceError with the reason, the end of the log and the log's path.
        """
        if self.running() and self.answers():
            return False
        with self._locked():
            identity = self._adopted()
            started = identity is None
            if identity is None:
                identity = self._start()
            self._await_answer(identity)
            return started

    def stop(self) -> bool:
        """Stop the server cleanly and wait for its end; tell whether it ran. Raises ServiceError."""
        if not self.folder.exists():
            return False
        with self._locked():
            identity = self._adopted()
            if identity is not None:
                processes.stop(identity, name=self.name, how=self.stop_signal, seconds=STOP_SECONDS)
            self.record.unlink(missing_ok=True)
            return identity is not None

    def _start(self) -> Identity:
        launch = self.prepare()
        identity = processes.start(launch.argv, folder=self.folder, log=self.log, account=launch.account)
        if identity is None:
            raise self._failed("ended as soon as it was started")
        processes.remember(self.record, identity)
        return identity

    def _adopted(self) -> Identity | None:
        """Return the server's process, also where its starter was killed before it wrote the pid file."""
        identity = self.running()
        if identity is None and (identity := processes.find(*self.marks())):
            processes.remember(self.record, identity)
        return identity

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.lock)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise ServiceError(
                f"another command has been starting or stopping {self.name} for {LOCK_SECONDS / 60:.0f} minutes: "
                f"end it, or see {self.log}"
            ) from error
        except OSError as error:
            raise ServiceError(
                f"{self.folder} can't be written ({error}): set TALLY_HOME to a folder of yours"
            ) from error
        try:
            yield
        except OSError as error:
            raise ServiceError(f"{self.name} can't be set up in {self.folder}: {error}") from error
        finally:
            lock.release()

    def _await_answer(self, identity: Identity) -> None:
        def settled() -> bool:
            return self.answers() or not processes.is_alive(identity)

        if not processes.wait_until(settled, seconds=START_SECONDS):
            raise self._failed(
                f"runs (pid {identity.pid}) but has not answered for {START_SECONDS:.0f} s; it may be recovering"
            )
        if not processes.is_alive(identity):
            raise self._failed("ended while it was starting")

    def _failed(self, what: str) -> ServiceError:
        log = processes.tail(self.log) or "  (empty)"
        return ServiceError(f"{self.name} {what}. The end of its log, {self.log}:\n{log}")
