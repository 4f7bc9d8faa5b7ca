"""The nursery: what a supervisor knows of the template from which it lets its roles be forked."""

import os
import queue
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Self

from tallystick.supervision import template
from tallystick.supervision.template import Born, Died, Refused, Wish

_THREADS = Path("/proc/self/task")
_FILES = Path("/proc/self/fd")


class Forked:
    """A process that the template has forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        """Its exit code, negative for a signal; None while it runs."""
        self._ended = threading.Event()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for its end, at most so many seconds; return `code`."""
        self._ended.wait(seconds)
        return self.code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if not self._ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop, unless it has ended."""
        self.send_signal(signal.SIGTERM)

    def end(self, code: int) -> None:
        """Take note of its end."""
        self.code = code
        self._ended.set()


class Nursery:
    """Lets processes be forked from a template. Any thread may ask.

    Where the template dies, by SIGKILL or whatever, so do its processes, as if each had got a SIGKILL: nobody could
    tell of their ends any more. Then `starts` says no.
    """

    def __init__(self, control: socket.socket, modules: Sequence[str], *, pid: int | None = None) -> None:
        """`control` leads to a template, whose process is `pid` where it is a child of this one.

        `modules` are those whose `main` may be asked for.
        """
        self._control, self._modules, self.pid = control, frozenset(modules), pid
        self._asking = threading.Lock()
        self._answers: queue.Queue[Forked | str | None] = queue.Queue()
        self._alive = True
        self._listener: threading.Thread | None = None

    @classmethod
    def fork(cls, modules: Sequence[str], *, imported: Sequence[str] = ()) -> Self | None:
        """Make a template of this process as it is; it imports `modules`, which can be run, and `imported` besides.

        Call it early: before the first connection, log line or thread. Returns None where processes can't be forked
        safely: on other systems than Linux, and where there is a second thread.
        """
        if sys.platform != "linux" or len(list(_THREADS.iterdir())) > 1:
            return None
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or the template, too, had what is in there to write
        pid = os.fork()
        if not pid:
            _be_template(theirs, (*modules, *imported))
        theirs.close()
        return cls(ours, modules, pid=pid)

    def close(self) -> None:
        """End the template, and those of its processes that still run. Safe to repeat."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        if self._listener:
            self._listener.join()
        self._control.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = None

    def starts(self, argv: Sequence[str]) -> bool:
        """Whether `argv` is `python -m` with one of the modules, and the template lives."""
        return self._alive and tuple(argv[:2]) == (sys.executable, "-m") and not self._modules.isdisjoint(argv[2:3])

    def start(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        files: Sequence[int],
        folder: Path | None = None,
        yields: int = 0,
    ) -> Forked | None:
        """Start a process for which `starts` has said yes; None where the template turns out to have ended.

        `files` become its standard output, its standard error and, where there is a third, its lifeline; `yields` is
        added to its niceness. Raises OSError where it can't be started.
        """
        wish = Wish(
            tuple(map(os.fsencode, argv)),
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            os.fsencode(folder or Path.cwd()),
            yields,
        )
        with self._asking:
            if not self._listener:
                self._listener = threading.Thread(target=self._listen, name="nursery", daemon=True)
                self._listener.start()
            try:
                template.send(self._control, wish, files)
            except ConnectionError:
                self._alive = False
                return None
            answer = self._answers.get()
        if isinstance(answer, str):
            raise OSError(answer)
        return answer

    def _listen(self) -> None:
        living: dict[int, Forked] = {}
        while (word := template.receive_word(self._control)) is not None:
            match word:
                case Born(pid):
                    self._answers.put(living.setdefault(pid, Forked(pid)))
                case Refused(reason):
                    self._answers.put(reason)
                case Died(pid, code):
                    living.pop(pid).end(code)
        self._alive = False
        self._answers.put(None)
        for child in living.values():
            _kill(child.pid)
            child.end(-signal.SIGKILL)


def _kill(leader: int) -> None:
    """Kill a session that is no child's of this process, and wait until its leader is dead."""
    try:
        process = os.pidfd_open(leader)
    except OSError:
        process = None  # it is dead already; or the kernel is one before 5.3, with which nobody can wait for it
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    if process is not None:
        poller = select.poll()
        poller.register(process, select.POLLIN)
        poller.poll()
        os.close(process)


def _be_template(control: socket.socket, modules: Sequence[str]) -> NoReturn:
    try:
        os.setsid()  # Ctrl-C in a terminal is for the supervisor alone
        for path in list(_FILES.iterdir()):
            if int(path.name) not in (0, 1, 2, control.fileno()):
                with suppress(OSError):  # the one by which the list was read
                    os.close(int(path.name))
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(nothing, number)
        os.close(nothing)
        template.serve(control, modules)
    finally:
        os._exit(0)
