"""Since when what has not been acknowledged yet has been there. No I/O."""

from collections import deque

_MOST = 1_000


class Arrivals:
    """Remembers when a source was seen to have grown, as far back as something is not acknowledged.

    Past a bound the newest growth is taken to be as old as the one before: a lag is rather told too great than too
    small.
    """

    def __init__(self, position: int) -> None:
        self._end = position
        self._seen: deque[tuple[int, str]] = deque()

    def note(self, end: int, at: str) -> None:
        """Take note that the source reached to `end` at the time `at`."""
        if end <= self._end:
            return
        if len(self._seen) >= _MOST:
            at = self._seen.pop()[1]
        self._seen.append((end, at))
        self._end = end

    def since(self, position: int) -> str:
        """Return when the first part after `position` was there at the latest; empty where there is none."""
        while self._seen and self._seen[0][0] <= position:
            self._seen.popleft()
        return self._seen[0][1] if self._seen else ""
