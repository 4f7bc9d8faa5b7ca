"""Commands as processes that are forked from one that has imported everything: to start one costs next to nothing.

What they run is what `python -m` would run, in a process, a session and an environment of its own. That a new
interpreter does so too is seen where tests start one: `test_service`, `test_load_bad_input`, `test_local_stack`.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tallystick.supervision.nursery import Nursery

COMMANDS = ("tallystick.cli.main", "tallystick.cli.run")
IMPORTED = (
    *(f"tallystick.cli.{name}" for name in ("load", "importing", "demo", "dlq", "db", "sources", "sensors", "media")),
    *("sinks.roles", "streams.worker", "producers.cowrie.reader", "producers.cowrie.following.loop"),
    *("tallystick.cli.media.worker", "tallystick.cli.media.stages", "producers.media.identifier"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite"),
)
SERVE = """
import socket, sys
from tallystick.supervision.template import serve
serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
"""


def made(modules: Sequence[str], *, imported: Sequence[str] = (), folder: Path | None = None) -> Nursery:
    """Return a nursery with a new interpreter as its template, which finds modules in `folder`, too."""
    ours, theirs = socket.socketpair()
    with theirs:
        template = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(theirs.fileno()), *modules, *imported],
            pass_fds=(theirs.fileno(),),
            env=os.environ | ({"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])} if folder else {}),
            start_new_session=True,
        )
    template.returncode = 0  # the nursery waits for it
    return Nursery(ours, modules, pid=template.pid)


@cache
def commands() -> Nursery:
    """The nursery of this test process."""
    return made(COMMANDS, imported=IMPORTED)


class Command:
    """A running command, with what the tests use of `subprocess.Popen`. Leaving its block waits for its end."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        output: IO[bytes] | None = None,
        merged: bool = False,
    ) -> None:
        """All that it writes goes to the file `output`; without one it is kept for `communicate`, `merged` or not."""
        self.args = argv
        self._kept: list[str] = ["", ""]
        self._readers: list[threading.Thread] = []
        first = os.dup(output.fileno()) if output else self._pipe(0)
        files = [first, os.dup(first) if output or merged else self._pipe(1)]
        try:
            child = commands().start(argv, environment=env, files=files, folder=cwd)
            assert child, "the template of the tests has ended"
            self._child = child
        finally:
            for file in files:
                os.close(file)
        self.pid = self._child.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._child.code

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        code = self._child.wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return self._kept[0], self._kept[1]

    def send_signal(self, number: int) -> None:
        self._child.send_signal(number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _pipe(self, number: int) -> int:
        reading, writing = os.pipe()

        def read() -> None:
            with os.fdopen(reading, encoding="utf-8", errors="replace") as file:
                self._kept[number] = file.read()

        self._readers.append(threading.Thread(target=read, daemon=True))
        self._readers[-1].start()
        return writing
