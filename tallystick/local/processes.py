"""Server processes that outlive the command that started them, and are known again by pid and time of creation."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from tallystick.errors import ServiceError
from tallystick.local import files

CREATED_TOLERANCE_SECONDS = 2.0
"""Time of creation is derived from the clock, which may be corrected while a server runs."""
LOG_LIMIT_BYTES = 10 * 1024 * 1024
INHERITED = ("PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
POLL_SECONDS = 0.05

# The server is the child of a shell that ends at once, so it belongs to no command: it gets no Ctrl-C of a terminal,
# and whoever started it leaves neither a zombie nor an unwaited child behind.
DETACH = '"$@" >&2 & echo $!'


class Identity(msgspec.Struct, frozen=True):
    """One process, told apart from a later one with the same pid. `created` is in seconds since the epoch."""

    pid: int
    created: float


class Account(msgspec.Struct, frozen=True):
    """The user and group a process runs as."""

    name: str
    uid: int
    gid: int


def identify(pid: int) -> Identity | None:
    """Return the identity of a live process; None if there is no such process or only its zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid=pid, created=process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(identity: Identity) -> bool:
    """Tell whether the very process lives; a stranger that was given its pid later doesn't count."""
    now = identify(identity.pid)
    return now is not None and abs(now.created - identity.created) <= CREATED_TOLERANCE_SECONDS


def recorded(record: Path) -> Identity | None:
    """Return the process that the pid file `record` names if it lives; None if it doesn't or there is no such file."""
    try:
        identity = msgspec.json.decode(record.read_bytes(), type=Identity)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return identity if is_alive(identity) else None


def remember(record: Path, identity: Identity) -> None:
    """Write the pid file `record`."""
    files.replace(record, msgspec.json.encode(identity))


def find(*arguments: str) -> Identity | None:
    """Return a live process whose command line has all `arguments`: a server that lost its pid file."""
    for process in psutil.process_iter(["cmdline"]):
        command: list[str] = process.info["cmdline"] or []
        if set(arguments) <= set(command) and DETACH not in command:
            return identify(process.pid)
    return None


def working_in(folder: Path) -> list[Identity]:
    """Return the live processes whose working directory is `folder`, as far as this user may see them."""
    there = [process.pid for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]
    return [identity for pid in there if (identity := identify(pid))]


def environment() -> dict[str, str]:
    """Return the environment of a server: what it needs to run, and no setting or secret of whoever starts it."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {"LC_ALL": "C"}


def start(argv: list[str], *, folder: Path, log: Path, account: Account | None = None) -> Identity | None:
    """Start `argv` in a session of its own in `folder`, with its output appended to `log`; don't wait for it.

    It inherits no descriptor, no terminal and no setting. A log beyond 10 MiB is first renamed to `….1`. As root,
    `account` says which user it runs as. Returns None if it ended at once. Raises ServiceError if it can't be started.
    """
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("ab") as output:
        try:
            shell = subprocess.run(
                ["/bin/sh", "-c", DETACH, "sh", *argv],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                check=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise ServiceError(f"{argv[0]} can't be started: {error}; see {log}") from error
    return identify(int(shell.stdout))


def stop(identity: Identity, *, name: str, how: signal.Signals, seconds: float) -> None:
    """Send the signal `how` and wait for the end. Raises ServiceError if the process still lives after `seconds`."""
    if not is_alive(identity):
        return
    try:
        os.kill(identity.pid, how)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise ServiceError(f"{name} (pid {identity.pid}) belongs to another user: stop it as that user") from error
    if not wait_until(lambda: not is_alive(identity), seconds=seconds):
        raise ServiceError(
            f"{name} (pid {identity.pid}) has not ended {seconds:.0f} s after {how.name}: wait and run the command "
            f"again, or end it with `kill -9 {identity.pid}`, after which it recovers its data at the next start"
        )


def wait_until(true: Callable[[], bool], *, seconds: float) -> bool:
    """Ask `true` again and again, until it is or `seconds` have passed; return its last answer."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def memory_bytes(identity: Identity) -> int | None:
    """Return the memory of a process and its children (shared pages counted once, on Linux); None if unknown."""
    try:
        process = psutil.Process(identity.pid)
        return _memory(process) + sum(_memory_if_alive(child) for child in process.children(recursive=True))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _memory(process: psutil.Process) -> int:
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.rss))


def _memory_if_alive(child: psutil.Process) -> int:
    """Return a child's memory, 0 if it has just ended, as the children that serve connections do."""
    try:
        return _memory(child)
    except psutil.NoSuchProcess:
        return 0


def tail(log: Path, *, lines: int = 15) -> str:
    """Return the last lines of `log`, indented; an empty text if there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 32_768))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
