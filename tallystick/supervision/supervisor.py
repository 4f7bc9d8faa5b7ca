"""The supervisor: starts the processes of several roles, restarts what fails, records every exit, stops them all."""

import os
import queue
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tallystick.contracts import timestamps
from tallystick.errors import ServiceError, UsageError
from tallystick.logs import get_logger
from tallystick.supervision.exits import Exit, ExitReason, classify, signal_name
from tallystick.supervision.memory import OutOfMemoryKills
from tallystick.supervision.nursery import Nursery
from tallystick.supervision.process import Ended, Line, Process
from tallystick.supervision.restarting import Decision, Done, GiveUp, Policy, Restart, RestartPolicy, RoleSpec
from tallystick.supervision.standing import Unwatched, Watcher

MAX_WAITING_EVENTS = 1_000
"""Lines that wait for `poll`; past it, the processes that write them are slowed down."""

log = get_logger(__name__)


class _Role:
    """A role as it stands: running (`process`), waiting for its restart (`due`, monotonic seconds), or at its end."""

    def __init__(self, spec: RoleSpec) -> None:
        self.spec = spec
        self.process: Process | None = None
        self.due: float | None = None
        self.restarts = 0
        self.given_up: Exit | None = None


class Supervisor:
    """Runs roles as child processes. One thread uses it; its callbacks run in that thread, within its methods.

    As a context manager it stops every process on the way out, whatever passes. If the supervisor itself dies, even by
    SIGKILL, the operating system closes the pipe that is the children's lifeline, and they stop (`child.install`).
    """

    def __init__(
        self,
        *,
        on_exit: Callable[[Exit], None],
        on_line: Callable[[str, str], None],
        log_dir: Path,
        nursery: Nursery | None = None,
        policy: Policy | None = None,
        kills: OutOfMemoryKills | None = None,
        jitter: Callable[[], float] = random.random,
        watcher: Watcher | None = None,
    ) -> None:
        """`on_line` gets (role, line of its standard output); each role's standard error goes to `log_dir`.

        `watcher` is told of starts and ends, before `on_exit` is. Roles that the `nursery` can start are forked from
        its template, the others get an interpreter of their own.
        """
        self._on_exit, self._on_line, self._log_dir, self._nursery = on_exit, on_line, log_dir, nursery
        self._policy: Policy = policy or RestartPolicy()
        self._kills = kills or OutOfMemoryKills()
        self._jitter = jitter
        self._watcher = watcher or Unwatched()
        self._roles: dict[str, _Role] = {}
        self._events: queue.Queue[Line | Ended] = queue.Queue(MAX_WAITING_EVENTS)
        self._exits: list[Exit] = []
        self._stopped = False
        self._why = ""
        self._lifeline, self._lifeline_held = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, spec: RoleSpec) -> None:
        """Start a role that is new, or that has come to its end.

        Raises UsageError where it is running, or waits for its restart, or after `stop`; ServiceError where its process
        can't be started.
        """
        known = self._roles.get(spec.name)
        if self._stopped:
            raise UsageError(f"role {spec.name} can't be started: its supervisor has stopped; make another")
        if known and (known.process or known.due is not None):
            raise UsageError(f"role {spec.name} can't be started: it runs already, or is about to be restarted")
        role = _Role(spec)
        role.process = self._launch(role)
        self._roles[spec.name] = role

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for an exit, and return the exits since the last call.

        Meanwhile hands lines to `on_line`, and restarts each role whose back-off is over.
        """
        deadline = time.monotonic() + seconds
        while not self._exits:
            self._watcher.look()
            self._restart_due()
            waiting = [role.due for role in self._roles.values() if role.due is not None]
            self._take(until=min([deadline, *waiting]))
            if time.monotonic() >= deadline:
                break
        return self._hand_over()

    def running(self) -> dict[str, int]:
        """Return the process id of each role that runs."""
        return {name: role.process.pid for name, role in self._roles.items() if role.process}

    def active(self) -> set[str]:
        """Return the roles that run, or that wait for their restart."""
        return {name for name, role in self._roles.items() if role.process or role.due is not None}

    def failed(self) -> dict[str, Exit]:
        """Return the last exit of each role that has been given up."""
        return {name: role.given_up for name, role in self._roles.items() if role.given_up}

    def stop(self, seconds: float = 15.0, *, why: str = "") -> list[Exit]:
        """Ask every process to stop, in the order in which the roles were started, and wait for them.

        Their exits say `why`. Those that still run after `seconds` are killed, and their exits say so; so they are at
        once where an exception (a second Ctrl-C, a callback's) passes. Final: no role can be started afterwards.
        Returns the exits since the last call of `poll`.
        """
        self._why = self._why or why
        try:
            for role in self._roles.values():
                role.due = None
                if role.process:
                    role.process.terminate()
            deadline = time.monotonic() + seconds
            while self.running() and time.monotonic() < deadline:
                self._take(until=deadline)
        finally:
            self._end()
        return self._hand_over()

    def _end(self) -> None:
        for role in self._roles.values():
            if role.process:
                log.warning("killing", role=role.spec.name, pid=role.process.pid)
                role.process.kill()
        try:
            while self.running():
                self._take(until=time.monotonic() + 1)
        finally:
            if not self._stopped:
                self._stopped = True
                os.close(self._lifeline_held)
                os.close(self._lifeline)
        self._take(until=time.monotonic())

    def _launch(self, role: _Role) -> Process:
        process = Process(
            role.spec, lifeline=self._lifeline, log_dir=self._log_dir, report=self._report, nursery=self._nursery
        )
        log.info("role started", role=role.spec.name, pid=process.pid)
        self._watcher.started(role.spec, process.pid, restarts=role.restarts)
        return process

    def _report(self, event: Line | Ended) -> None:
        if not self._stopped:
            self._events.put(event)

    def _restart_due(self) -> None:
        for role in self._roles.values():
            if role.due is not None and role.due <= time.monotonic():
                role.due = None
                try:
                    role.process = self._launch(role)
                except ServiceError as error:
                    at = timestamps.now()
                    self._record(role, Exit(role.spec.name, 0, ExitReason.FAILED, None, "", at, 0.0, str(error)))

    def _take(self, *, until: float) -> None:
        """Wait for the next event, then handle it and all that have come with it."""
        try:
            event = self._events.get(timeout=max(until - time.monotonic(), 0))
        except queue.Empty:
            return
        self._handle(event)
        for _ in range(self._events.qsize()):
            self._handle(self._events.get_nowait())

    def _handle(self, event: Line | Ended) -> None:
        if isinstance(event, Line):
            self._on_line(event.role, event.text)
            return
        process, code = event.process, event.code
        killed = code == -signal.SIGKILL
        overdue = killed and process.overdue
        role = self._roles[process.spec.name]
        role.process = None
        ended = Exit(
            role=process.spec.name,
            pid=process.pid,
            reason=classify(
                code,
                asked=event.asked,
                out_of_memory=killed and not overdue and self._kills.attribute(),
                done_codes=process.spec.done_codes,
            ),
            exit_code=code if code >= 0 else None,
            signal=signal_name(code),
            at=event.at,
            ran_seconds=round(event.ran_seconds, 3),
            tail=process.tail(),
        )
        if overdue:
            late = "killed, as it had not stopped in the time it was given"
            detail = f"{self._why}; {late}" if self._why else late
            self._tell(role, msgspec.structs.replace(ended, detail=detail), follows=None)
        elif event.asked:
            self._tell(role, msgspec.structs.replace(ended, detail=self._why), follows=None)
        else:
            self._record(role, ended)

    def _record(self, role: _Role, ended: Exit) -> None:
        """Apply what follows an exit that nobody asked for, then tell of it."""
        follows = self._policy.decide(role.spec, ended, restarts=role.restarts, jitter=self._jitter())
        match follows:
            case Done():
                detail = ""
            case Restart(after_seconds=after, number=number):
                role.due, role.restarts = time.monotonic() + after, number
                limit = f" of {role.spec.max_restarts}" if role.spec.max_restarts is not None else ""
                detail = f"restart {number}{limit} in {after:.2f} s"
            case GiveUp(reason=detail):
                role.given_up = msgspec.structs.replace(ended, detail=detail)
        self._tell(role, msgspec.structs.replace(ended, detail=detail), follows=follows)

    def _tell(self, role: _Role, ended: Exit, *, follows: Decision | None) -> None:
        self._exits.append(ended)
        fields = {name: value for name, value in msgspec.structs.asdict(ended).items() if name != "at"}
        usual = ended.reason in {ExitReason.FINISHED, ExitReason.CANCELLED}
        (log.info if usual else log.warning)("role ended", **fields)
        self._watcher.ended(role.spec, ended, follows)
        self._on_exit(ended)

    def _hand_over(self) -> list[Exit]:
        exits, self._exits = self._exits, []
        return exits
