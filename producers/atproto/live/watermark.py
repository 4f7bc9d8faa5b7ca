"""How far a stream is done with: events come in order, and are done with in any."""

from collections import deque
from collections.abc import Sequence


class Entry:
    """One event that has come: its number `seq`, its bytes, when it came (seconds since 1970), and what became of it.

    `missing` is what it still waits for: records that Kafka has not acknowledged, and those who hold it. `events`,
    `dead` and `blank` count what it turned out to be.
    """

    __slots__ = ("at", "blank", "dead", "events", "missing", "seq", "size")

    def __init__(self, seq: int, size: int, at: float) -> None:
        self.seq, self.size, self.at = seq, size, at
        self.missing = 1
        self.events = self.dead = self.blank = 0


class Watermark:
    """The events of one stream that are not done with, or stand behind one that isn't.

    `position` is the number of the last event that is done with together with all that came before it: the cursor. It
    goes back only where a host's numbers begin anew, once all that came before is done with.
    """

    def __init__(self, position: int) -> None:
        self.position = self.received = position
        self.waiting = self.waiting_bytes = 0
        self._entries: deque[Entry] = deque()

    @property
    def span(self) -> int:
        """How many events have come that the position is not past: those that wait, and those behind them."""
        return len(self._entries)

    @property
    def oldest_at(self) -> float | None:
        """When the oldest event came that the position is not past; None where there is none."""
        return self._entries[0].at if self._entries else None

    def begin(self, seq: int, *, size: int = 0, at: float = 0.0) -> Entry:
        """Take note of an event that has come. Whoever begins it holds it, and releases it by `release`."""
        entry = Entry(seq, size, at)
        self._entries.append(entry)
        self.received = seq
        self.waiting += 1
        self.waiting_bytes += size
        return entry

    def release(self, entry: Entry) -> Sequence[Entry]:
        """Take away one of the things that an event waits for. Return the events, in order, that the position passes
        by it: none as long as it, or one before it, waits for more.
        """
        entry.missing -= 1
        if entry.missing:
            return ()
        self.waiting -= 1
        self.waiting_bytes -= entry.size
        passed = []
        while self._entries and not self._entries[0].missing:
            passed.append(self._entries.popleft())
        if passed:
            self.position = passed[-1].seq
        return passed
