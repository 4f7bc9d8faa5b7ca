"""Who a process is: known again later, also by another supervisor and after a restart of the machine."""

import os
import platform
from pathlib import Path

import msgspec

_PROCESSES = Path("/proc")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STARTED_FIELD = 19
"""The place of the time of start, in ticks since the machine's own, among the fields behind a process's name."""


class ProcessIdentity(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process of `host`. `started` and `boot` tell it from a later one with its pid; empty where none are known."""

    host: str
    pid: int
    started: str = ""
    boot: str = ""


def identify(pid: int) -> ProcessIdentity:
    """Return the identity of the process `pid` of this host, whether it lives or not."""
    fields = _fields(pid)
    return ProcessIdentity(platform.node(), pid, fields[_STARTED_FIELD] if fields else "", _boot())


def is_gone(identity: ProcessIdentity) -> bool:
    """Return whether the process is known to have ended. Of another host's nothing is known."""
    if identity.host != platform.node():
        return False
    if identity.boot != _boot():
        return True
    if not _PROCESSES.joinpath("self").exists():
        return not _answers(identity.pid)
    fields = _fields(identity.pid)
    return not fields or fields[0] in {"Z", "X"} or (identity.started not in {"", fields[_STARTED_FIELD]})


def _fields(pid: int) -> list[str]:
    """Return the fields of a process that follow its name, which may hold anything; none where there is no such."""
    try:
        return (_PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _boot() -> str:
    return _BOOT.read_text().strip() if _BOOT.is_file() else ""


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
