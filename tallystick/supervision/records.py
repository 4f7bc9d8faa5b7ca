"""The record that every end of every task leaves: in the log, in a file of the task, in Kafka, and on the board.

The order: the supervisor logs it; `Records` notes it on the board, writes the file, hands it to Kafka. Nothing of this
can end a supervisor: what a disk or Kafka refuse is logged.
"""

import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Self

import msgspec

from tallystick.contracts import timestamps
from tallystick.contracts.tasks import TaskExit
from tallystick.errors import ServiceError
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.exit_files import ExitFiles
from tallystick.supervision.exit_topic import ExitTopic, Sender, make_sender
from tallystick.supervision.exits import Exit
from tallystick.supervision.identity import ProcessIdentity, identify, is_gone
from tallystick.supervision.restarting import Decision, RoleSpec
from tallystick.supervision.standing import Condition, TaskStanding, after, begun, exit_of, lost

FLUSH_SECONDS = 3.0
"""How long the end of a supervisor waits for Kafka to acknowledge its exits; the others are sent at the next start."""
ORPHANS_SECONDS = 1.0

log = get_logger(__name__)


class Board(msgspec.Struct, frozen=True):
    """How all tasks of one supervisor stand, and what it has counted of them since its start."""

    tasks: dict[str, TaskStanding] = {}
    exits: dict[tuple[str, str], int] = {}
    """By task and reason."""
    restarts: dict[str, int] = {}
    unsent: int = 0
    """How many exits Kafka has not acknowledged."""


class Records:
    """Watches a supervisor's tasks, and records their ends. One thread uses it; any may read its `board`."""

    def __init__(
        self,
        settings: Settings,
        *,
        make_publisher: Callable[[Settings], Sender] = make_sender,
        gone: Callable[[ProcessIdentity], bool] = is_gone,
    ) -> None:
        """`settings` name the Kafka that has the topic."""
        self._files = ExitFiles.of(settings)
        self._topic = ExitTopic(settings, keep=self._keep_unsent, make=make_publisher)
        self._gone = gone
        self._self = identify(os.getpid())
        self._orphans: list[TaskStanding] = []
        self._looked_at = time.monotonic()
        self._lock = Lock()
        self._tasks: dict[str, TaskStanding] = {}
        self._exits: Counter[tuple[str, str]] = Counter()
        self._restarts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Record what nobody saw: the ends of tasks whose supervisor is gone. Raises ServiceError."""
        try:
            with self._files.held():
                exits = self._files.take_over_unsent()
                gone = [
                    standing
                    for standing in self._files.read()
                    if standing.condition in {Condition.RUNNING, Condition.RESTARTING}
                    and self._gone(standing.supervisor)
                ]
                exits += self._find_out(gone)
        except OSError as error:
            raise ServiceError(
                f"how tasks end can't be recorded in {self._files.folder}: {error}; set TALLY_HOME to a folder of yours"
            ) from error
        self._topic.send(exits)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for standing in list(self._tasks.values()):
            if standing.condition is Condition.RESTARTING:
                self._note(msgspec.structs.replace(standing, condition=Condition.STOPPED, since=timestamps.now()))
        if not self._topic.close(FLUSH_SECONDS):
            log.warning("exits wait for Kafka; the next start sends them", exits=self._topic.waiting)

    @property
    def board(self) -> Board:
        """How the tasks stand now."""
        with self._lock:
            return Board(dict(self._tasks), dict(self._exits), dict(self._restarts), self._topic.waiting)

    def started(self, spec: RoleSpec, pid: int, *, restarts: int) -> None:
        """See `Watcher`."""
        before = self._tasks.get(spec.path) or self._from_before(spec.path)
        standing = begun(before, spec, identify(pid), supervisor=self._self, at=timestamps.now())
        with self._lock:
            self._restarts[spec.path] += int(restarts > 0)
        self._note(standing)

    def ended(self, spec: RoleSpec, ended: Exit, follows: Decision | None) -> None:
        """See `Watcher`."""
        exit_ = exit_of(spec, ended, host=platform.node())
        standing = after(self._tasks[spec.path], exit_, follows)
        with self._lock:
            self._tasks[spec.path] = standing
            self._exits[spec.path, exit_.reason] += 1
        there = self._files.find(spec.path)
        if there and there.supervisor != self._self and there.condition is Condition.RUNNING:
            standing = msgspec.structs.replace(there, last=exit_)  # another supervisor runs it as well
        self._write(standing)
        self._topic.send([exit_])

    def look(self) -> None:
        """See `Watcher`."""
        if self._orphans and time.monotonic() - self._looked_at > ORPHANS_SECONDS:
            self._looked_at = time.monotonic()
            orphans, self._orphans = self._orphans, []
            self._topic.send(self._find_out(orphans))
        self._topic.look()

    def _from_before(self, task: str) -> TaskStanding | None:
        """Return what an earlier supervisor knew of a task, without its trouble."""
        before = self._files.find(task)
        return msgspec.structs.replace(before, restarts=0, troubled_since="") if before else None

    def _find_out(self, standings: list[TaskStanding]) -> list[TaskExit]:
        """Return the ends that nobody saw; processes that still run, as they are about to stop, are looked at later."""
        exits = []
        for standing in standings:
            if standing.condition is Condition.RUNNING and not self._gone(standing.process):
                self._orphans.append(standing)
                continue
            now = lost(standing, at=timestamps.now())
            if now.last is not None and now.last is not standing.last:
                exits.append(now.last)
                log.warning("role ended", **msgspec.structs.asdict(now.last))
            if (mine := self._tasks.get(standing.task)) is not None:
                self._note(msgspec.structs.replace(mine, last=mine.last or now.last))
            else:
                self._write(now)
        return exits

    def _note(self, standing: TaskStanding) -> None:
        with self._lock:
            self._tasks[standing.task] = standing
        self._write(standing)

    def _write(self, standing: TaskStanding) -> None:
        try:
            self._files.write(standing)
        except OSError as error:
            log.warning("it can't be written how a task stands", task=standing.task, error=str(error))

    def _keep_unsent(self, exits: list[TaskExit]) -> None:
        try:
            self._files.keep_unsent(exits)
        except OSError as error:
            log.warning("exits that wait for Kafka can't be written", exits=len(exits), error=str(error))
