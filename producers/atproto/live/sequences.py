"""Where a stream is in its host's numbers: what to ask for, and what to make of each number that comes."""

from enum import Enum, auto


class Step(Enum):
    """What a number is, after the last one that was taken."""

    START = auto()
    """The first that is ever taken, or that is taken since the host's numbers began anew."""
    NEXT = auto()
    """The next one."""
    GAP = auto()
    """A later one: numbers in between are missing, which is legal."""
    REPEAT = auto()
    """Not a later one: it was taken before."""
    BEHIND = auto()
    """The first that came after a cursor was asked for, and it is smaller: the host has never come as far."""


class Sequence:
    """The last number that was taken of one stream, over all its connections.

    `last` is 0 where none is to be compared with. Of a cursor N some hosts send what follows N, others N as well.
    """

    def __init__(self, *, last: int = 0, oldest: bool = False) -> None:
        self.last = last
        self._oldest = oldest
        self._asked = 0

    def cursor(self, *, skip: int = 0) -> int | None:
        """Return the cursor for a new connection: None to begin with what happens now, 0 for the oldest event.

        `skip` so many numbers more, whatever they are.
        """
        self._asked = self.last + skip if self.last else 0
        if self.last:
            return self._asked
        return 0 if self._oldest else None

    def step(self, seq: int) -> Step:
        """Return what the number of an event is. It is not taken by that."""
        asked, self._asked = self._asked, 0
        if not self.last:
            return Step.START
        if asked and seq < self.last:
            return Step.BEHIND
        if seq <= self.last:
            return Step.REPEAT
        return Step.NEXT if seq == self.last + 1 else Step.GAP

    def take(self, seq: int) -> None:
        """Take a number."""
        self.last = seq

    def restart(self, *, oldest: bool) -> None:
        """Forget the last number: the host's begin anew, with the oldest event or with what happens now."""
        self.last, self._oldest = 0, oldest
