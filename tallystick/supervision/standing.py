"""How a task stands, and how that follows from its starts and ends: pure, times and processes are arguments."""

from enum import StrEnum
from typing import Protocol

import msgspec

from tallystick.contracts.tasks import TaskExit
from tallystick.contracts.timestamps import seconds_between
from tallystick.supervision.exits import Exit, ExitReason, last_words
from tallystick.supervision.identity import ProcessIdentity
from tallystick.supervision.restarting import Decision, Done, Restart, RoleSpec

MAX_ERROR_CHARS = 4_000
FOUND_OUT = "nobody saw its end, as its supervisor was killed as well; it was found out at the next start"


class Condition(StrEnum):
    """What a task is doing."""

    RUNNING = "running"
    RESTARTING = "restarting"
    """It has ended, and waits for its restart."""
    DONE = "done"
    """It was to end, and has."""
    STOPPED = "stopped"
    """It was asked to stop."""
    GIVEN_UP = "given_up"
    """It has ended, and is not started again."""
    LOST = "lost"
    """It has ended together with its supervisor."""


class TaskStanding(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a task stands `since` a canonical time: the document in `exits` below `TALLY_HOME`.

    `process` is the one that runs, or that ran last; `supervisor` the one that looks after it. `restarts` counts those
    in a row, the first of which followed an exit at `troubled_since`. `last` is its last exit.
    """

    task: str
    condition: Condition
    since: str
    process: ProcessIdentity
    supervisor: ProcessIdentity
    restarts: int = 0
    troubled_since: str = ""
    one_shot: bool = False
    last: TaskExit | None = None


class Watcher(Protocol):
    """Is told of everything that happens to the tasks of a supervisor, in its thread. Never raises."""

    def started(self, spec: RoleSpec, pid: int, *, restarts: int) -> None:
        """A process of a role was started, after so many restarts in a row."""

    def ended(self, spec: RoleSpec, ended: Exit, follows: Decision | None) -> None:
        """A process of a role has ended. Nothing follows where it was asked to."""

    def look(self) -> None:
        """Some time has passed."""


class Unwatched:
    """The watcher of whoever needs none."""

    def started(self, spec: RoleSpec, pid: int, *, restarts: int) -> None:
        """See `Watcher`."""

    def ended(self, spec: RoleSpec, ended: Exit, follows: Decision | None) -> None:
        """See `Watcher`."""

    def look(self) -> None:
        """See `Watcher`."""


def begun(
    before: TaskStanding | None, spec: RoleSpec, process: ProcessIdentity, *, supervisor: ProcessIdentity, at: str
) -> TaskStanding:
    """Return how a task stands once `process` runs; trouble lasts until its process has proved to be steady."""
    return TaskStanding(
        task=spec.path,
        condition=Condition.RUNNING,
        since=at,
        process=process,
        supervisor=supervisor,
        restarts=before.restarts if before else 0,
        troubled_since=before.troubled_since if before else "",
        one_shot=spec.one_shot,
        last=before.last if before else None,
    )


def after(before: TaskStanding, exit_: TaskExit, follows: Decision | None) -> TaskStanding:
    """Return how a task stands after `exit_`."""
    condition, restarts, troubled_since = Condition.STOPPED, before.restarts, before.troubled_since
    match follows:
        case None:
            pass
        case Done():
            condition, restarts, troubled_since = Condition.DONE, 0, ""
        case Restart(number=restarts):
            condition = Condition.RESTARTING
            troubled_since = troubled_since if restarts > 1 and troubled_since else exit_.at
        case _:
            condition = Condition.GIVEN_UP
            troubled_since = troubled_since or exit_.at
    return msgspec.structs.replace(
        before, condition=condition, since=exit_.at, restarts=restarts, troubled_since=troubled_since, last=exit_
    )


def lost(before: TaskStanding, *, at: str) -> TaskStanding:
    """Return how a task stands whose supervisor was found gone, together with its process, if it had one."""
    last = found_out(before, at=at) if before.condition is Condition.RUNNING else before.last
    return msgspec.structs.replace(before, condition=Condition.LOST, since=at, last=last)


def exit_of(spec: RoleSpec, ended: Exit, *, host: str) -> TaskExit:
    """Return the record of the end of a process of `spec`."""
    usual = ended.reason in {ExitReason.FINISHED, ExitReason.CANCELLED}
    return TaskExit(
        task=spec.path,
        host=host,
        pid=ended.pid,
        reason=str(ended.reason),
        at=ended.at,
        ran_seconds=ended.ran_seconds,
        exit_code=ended.exit_code,
        signal=ended.signal,
        error="" if usual else last_words(ended)[:MAX_ERROR_CHARS],
        next=ended.detail,
    )


def found_out(standing: TaskStanding, *, at: str) -> TaskExit:
    """Return the record of an end that nobody saw. `at` is when it was found out, so that it ran so long at most."""
    return TaskExit(
        task=standing.task,
        host=standing.process.host,
        pid=standing.process.pid,
        reason=str(ExitReason.KILLED),
        at=at,
        ran_seconds=round(max(seconds_between(standing.since, at), 0.0), 3),
        error=FOUND_OUT,
    )
