"""What a role says to whoever started it: JSON lines on standard output."""

import os
import sys
from collections.abc import Callable

import msgspec
import orjson

from tallystick.supervision.child import StopFlag


def teller(stop: StopFlag) -> Callable[[str, object], None]:
    """Return what tells whoever started this role, by a line of JSON. Once nobody reads that, the role is to stop.

    It never raises: an error of the pipe would be taken for one of what is being read.
    """

    def tell(kind: str, what: object) -> None:
        try:
            sys.stdout.buffer.write(orjson.dumps({kind: msgspec.to_builtins(what)}) + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Whoever started it is gone. What is left in the buffer must not fail once more at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            stop.request("nobody reads standard output any more")

    return tell
