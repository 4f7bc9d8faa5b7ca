"""What the reader tells while it works, and what it says in the end."""

import time
from collections.abc import Callable
from typing import Literal

import msgspec

State = Literal["claimed", "failed", "interrupted"]


class FileOutcome(msgspec.Struct, frozen=True):
    """How the reading of one path ended.

    `claimed`: all of it is in Kafka, and the claim as well. `failed`: `reason` says why. `interrupted`: the reader was
    told to stop; the next run goes on. The field `claimed` says whether there is a claim: of damaged content, too, what
    could be read is claimed.
    """

    path: str
    source: str
    attempt: int
    state: State
    counts: dict[str, int]
    reason: str = ""
    claimed: bool = False


class Progress(msgspec.Struct, frozen=True):
    """How far a file has been read. `position` counts content, `bytes_read` and `size` the file itself, in bytes.

    `lines`, `events` and `dead` are those of the source since its beginning, `before` the events of earlier attempts.
    `sensor` is the one that the file is read for. A file that is `waiting` has no source yet.
    """

    path: str
    source: str
    attempt: int
    position: int
    bytes_read: int
    size: int
    lines: int
    events: int
    dead: int
    state: Literal["waiting", "reading"] | State
    sensor: str = ""
    before: int = 0


class Throttle:
    """Says at most every `seconds` that it is time to tell something again."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock, self._next = seconds, clock, float("-inf")

    def due(self) -> bool:
        """Return whether it is time, and begin to wait again if it is."""
        if (now := self._clock()) < self._next:
            return False
        self._next = now + self._seconds
        return True
