"""When a connection that ended is made again, and when that is of no use: decisions, without sockets or clocks."""

import random
from collections.abc import Callable
from enum import Enum, auto

HEALTHY_SECONDS = 60.0
"""After so long a connection counts as healthy: then the next wait is the shortest again."""
REFUSALS = frozenset({401, 403, 404, 405, 410, 426})
"""HTTP answers in place of a stream that no wait will change."""


class Backoff:
    """How long to wait before the next connection: `first` seconds, then twice as long each time, at most `longest`,
    each a quarter shorter or longer by chance, so that the clients of a host that comes back don't come as one.
    """

    def __init__(
        self, longest: float, *, first: float = 1.0, chance: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._longest, self._first, self._chance = longest, first, chance
        self._failures = 0

    def wait(self, *, connected_seconds: float, retry_after: float = 0.0) -> float:
        """Return the seconds to wait after a connection that lasted `connected_seconds`, 0 if it was never made. It is
        never less than the `retry_after` that the host asked for.
        """
        if connected_seconds >= HEALTHY_SECONDS:
            self._failures = 0
        # 2.0**64 is longer than any setting; far beyond it a float would overflow.
        waited = min(self._first * 2.0 ** min(self._failures, 64), self._longest) * self._chance(0.75, 1.25)
        self._failures += 1
        return max(waited, retry_after)


class Answer(Enum):
    """What to do about bytes that are no frame."""

    AGAIN = auto()
    """Connect again, and ask for the same."""
    SKIP = auto()
    """The host repeats them: ask for what follows."""
    GIVE_UP = auto()
    """Nothing helps: end, and let whoever supervises decide when to begin again."""


SKIP_AFTER, GIVE_UP_AFTER = 3, 5
"""After how many failures in a row, at one place."""


class Unreadable:
    """What was unreadable at one place of a stream, time after time. No frame, no number, so no place behind it."""

    def __init__(self) -> None:
        self.times = 0
        self._last = -1
        self._digests: set[int] = set()

    @property
    def skip(self) -> int:
        """How many numbers are to be skipped when the stream is asked for anew."""
        return max(self.times - SKIP_AFTER + 1, 0) if len(self._digests) == 1 else 0

    def failed(self, last: int, digest: int) -> Answer:
        """Return what to do about bytes that are no frame, which came after the number `last`."""
        if last != self._last:
            self.times, self._last, self._digests = 0, last, set()
        self.times += 1
        self._digests.add(digest)
        if self.times >= GIVE_UP_AFTER:
            return Answer.GIVE_UP
        return Answer.SKIP if self.skip else Answer.AGAIN

    def is_known(self, last: int, digest: int) -> bool:
        """Return whether the same bytes came at the same place before."""
        return last == self._last and digest in self._digests
