"""Whether a file that ends in the middle of something is still being written."""

import os
import time
from collections.abc import Callable


class Growth:
    """Watches an open file. `wait(seconds)` passes the time, up to `settle_seconds` after the last change."""

    def __init__(
        self, descriptor: int, *, settle_seconds: float, stop: Callable[[], bool], wait: Callable[[float], None]
    ) -> None:
        self._descriptor, self._settle, self._stop, self._wait = descriptor, settle_seconds, stop, wait
        self._seen = self._look()

    def note(self) -> None:
        """Remember how the file is now. Call it before reading: what comes after is a change."""
        self._seen = self._look()

    def changes(self) -> bool:
        """Return whether the file has changed since `note`, waiting for it where it was written to just now.

        A file whose last change is older than `settle_seconds` is not waited for. False as well where `stop` says so.
        """
        age = time.time() - self._seen[1] / 1e9
        deadline = time.monotonic() + min(max(self._settle - age, 0.0), self._settle)
        while self._look() == self._seen:
            if self._stop() or time.monotonic() >= deadline:
                return False
            self._wait(0.02)
        return True

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return os.fstat(self._descriptor).st_size

    def _look(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns
