"""What lists of processes show for this one: a process that was forked would else bear its parent's command line."""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

_STAT = Path("/proc/self/stat")
_ARG_START, _ENV_END = 45, 48
"""Where the two fields stand in it, counted behind the name of the program."""


def show_arguments(arguments: Sequence[bytes]) -> None:
    """Let `ps` show `arguments` for this process, cut off where there is no room for all. Linux only; else nothing.

    Overwrites the bytes of the first environment that this process was given: call it once every variable has been set
    anew, as nothing points to those bytes then.
    """
    if sys.platform != "linux":
        return
    fields = [int(field) for field in _STAT.read_bytes().rpartition(b")")[2].split()[1:]]
    arg_start, arg_end, _, env_end = fields[_ARG_START - 1 : _ENV_END]
    # A last byte of the arguments that isn't zero tells the kernel that one text goes on into the environment.
    fits = sum(map(len, arguments)) + len(arguments) <= arg_end - arg_start
    text = (b"\0" if fits else b" ").join(arguments)[: env_end - arg_start - 1]
    ctypes.memmove(arg_start, text.ljust(env_end - arg_start, b"\0"), env_end - arg_start)
