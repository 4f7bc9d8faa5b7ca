"""How a process ended: the record that every exit leaves, and the words in it."""

import signal
from collections.abc import Collection
from enum import StrEnum

import msgspec

STOPPED_CODES = frozenset({128 + signal.SIGTERM, 128 + signal.SIGINT})
"""The exit codes by which a process says that it stopped because a signal asked it to, not because it was done."""


class ExitReason(StrEnum):
    """Why a process ended."""

    FINISHED = "finished"
    """It returned with exit code 0, or another by which its role says that it is done; nobody had asked it to stop."""
    FAILED = "failed"
    """It returned with another exit code, or could not be started."""
    KILLED = "killed"
    """A signal ended it."""
    CANCELLED = "cancelled"
    """It was asked to stop, and did."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed it for want of memory; only said where the kernel counted such a kill."""


class Exit(msgspec.Struct, frozen=True):
    """The end of one process of a role.

    `exit_code` is None where a signal, named in `signal`, ended it, or where it could not be started (then `pid` is 0).
    `at` is a canonical time. `tail` holds the last lines that it wrote to standard error, `detail` what follows now.
    """

    role: str
    pid: int
    reason: ExitReason
    exit_code: int | None
    signal: str
    at: str
    ran_seconds: float
    tail: str
    detail: str = ""


def classify(code: int, *, asked: bool, out_of_memory: bool, done_codes: Collection[int] = (0,)) -> ExitReason:
    """Return why a process ended whose return code is `code`, negative for a signal, as in `subprocess`.

    `asked` says that its supervisor had told it to stop, `out_of_memory` that the kernel counted a kill for it,
    `done_codes` are those by which it says that it has done its work.
    """
    if code == -signal.SIGKILL:
        return ExitReason.OUT_OF_MEMORY if out_of_memory else ExitReason.KILLED
    if code in STOPPED_CODES or (asked and code in {*done_codes, -signal.SIGTERM, -signal.SIGINT}):
        return ExitReason.CANCELLED
    if code < 0:
        return ExitReason.KILLED
    return ExitReason.FINISHED if code in done_codes else ExitReason.FAILED


def signal_name(code: int) -> str:
    """Return the name of the signal that a negative return code stands for, else the empty string."""
    if code >= 0:
        return ""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


class _LogLine(msgspec.Struct):
    error: str = ""


def last_words(ended: Exit) -> str:
    """Return the error that a role logged last, else the last line that it wrote, else why it ended."""
    lines = ended.tail.splitlines()
    for line in reversed(lines):
        try:
            error = msgspec.json.decode(line, type=_LogLine).error
        except msgspec.MsgspecError:
            continue
        if error:
            return error
    return lines[-1] if lines else str(ended.reason)
