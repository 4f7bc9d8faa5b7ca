"""One process of a role: started in a session of its own, read line by line, waited for, reported."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from tallystick.contracts import timestamps
from tallystick.errors import ServiceError, UsageError
from tallystick.logs import without_secrets
from tallystick.supervision.child import LIFELINE_VARIABLE, TASK_VARIABLE
from tallystick.supervision.nursery import Forked, Nursery
from tallystick.supervision.restarting import RoleSpec

MAX_LINE_CHARS = 64 * 1024
"""A longer line of standard output arrives in pieces."""
MAX_LOG_BYTES = 16 * 1024 * 1024
"""A log that has grown past this is set aside as `<role>.log.1` before the role starts again."""
TAIL_LINES = 20
TAIL_BYTES = 16 * 1024

_ROLE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}")
_LAST_LINES_SECONDS = 1.0


class Line(msgspec.Struct, frozen=True):
    """A line that a role wrote to standard output, without its end."""

    role: str
    text: str


class Ended(msgspec.Struct, frozen=True):
    """The end of `process`. `code` is negative for a signal; `asked` says that it had been told to stop before."""

    process: "Process"
    code: int
    asked: bool
    at: str
    ran_seconds: float


class Process:
    """A running process of `spec`.

    Its standard error goes straight to the file `<log_dir>/<role>.log`, so that its last words are kept even where
    the supervisor is the one that died. Two threads serve it: one reads its standard output, one waits for its end
    and reaps it. Both hand what they get to `report`, which may block; a process that writes faster than its lines are
    taken is slowed down, and its `Ended` comes after its lines.
    """

    def __init__(
        self,
        spec: RoleSpec,
        *,
        lifeline: int,
        log_dir: Path,
        report: Callable[["Line | Ended"], None],
        nursery: Nursery | None = None,
    ) -> None:
        """Start it, from the `nursery` if that can; `lifeline` is the file descriptor that the child inherits.

        Raises UsageError for a name that can't be a file's, ServiceError where the process can't be started.
        """
        if not _ROLE_NAME.fullmatch(spec.name):
            raise UsageError(f"role name {spec.name!r} is not usable: take letters, digits, dots, dashes, underscores")
        self.spec = spec
        self.overdue = False
        self._asked = False
        self._report = report
        self._log = log_dir / f"{spec.name}.log"
        try:
            _set_aside(self._log)
            with self._log.open("ab") as log:
                self._log_start = log.tell()
                self._child, stdout = _begin(spec, lifeline, log.fileno(), nursery)
        except OSError as error:
            raise ServiceError(f"role {spec.name} can't be started: {error}; see {self._log}") from error
        self.pid = self._child.pid
        self._started = time.monotonic()
        self._reader = threading.Thread(target=self._read, args=(stdout,), name=f"role {spec.name} lines", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, name=f"role {spec.name} end", daemon=True).start()

    def terminate(self) -> None:
        """Ask the process to stop."""
        self._asked = True
        self._child.terminate()

    def kill(self) -> None:
        """Kill the process, and what it started in its own session, because it has not stopped in time."""
        self.overdue = True
        self._kill_session()

    def tail(self) -> str:
        """Return the last lines that this process wrote to standard error, without passwords of URLs."""
        if not self._log.is_file():
            return ""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        return without_secrets("\n".join(lines[-TAIL_LINES:]))

    def _read(self, stdout: IO[str]) -> None:
        with stdout:
            while text := stdout.readline(MAX_LINE_CHARS):
                self._report(Line(self.spec.name, text.rstrip("\r\n")))

    def _wait(self) -> None:
        code = self._child.wait()
        assert code is not None  # noqa: S101  (there was no limit)
        ended = Ended(self, code, self._asked, timestamps.now(), time.monotonic() - self._started)
        self._kill_session()  # a helper that outlives its role would work on beside the role's next process
        self._reader.join(_LAST_LINES_SECONDS)
        self._report(ended)

    def _kill_session(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone; macOS says it the second way
            os.killpg(self.pid, signal.SIGKILL)


def _begin(
    spec: RoleSpec, lifeline: int, log: int, nursery: Nursery | None
) -> tuple["subprocess.Popen[bytes] | Forked", IO[str]]:
    """Start a process; return it with its standard output."""
    child: subprocess.Popen[bytes] | Forked | None = None
    environment = os.environ | {"PYTHONUNBUFFERED": "1", TASK_VARIABLE: spec.path} | spec.env
    reading, writing = os.pipe()
    try:
        if nursery and nursery.starts(spec.argv):
            child = nursery.start(
                spec.argv, environment=environment, files=(writing, log, lifeline), yields=spec.yields
            )
        if child is None:
            child = subprocess.Popen(
                spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=log,
                env=environment | {LIFELINE_VARIABLE: str(lifeline)},
                pass_fds=(lifeline,),
                start_new_session=True,  # Ctrl-C in a terminal is for the supervisor alone
            )
            with contextlib.suppress(ProcessLookupError):  # it has ended already, which is told as any end is
                os.setpriority(os.PRIO_PROCESS, child.pid, os.getpriority(os.PRIO_PROCESS, 0) + spec.yields)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return child, open(reading, encoding="utf-8", errors="replace")  # noqa: PTH123


def _set_aside(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.is_file() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
