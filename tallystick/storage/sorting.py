"""More keys than memory holds, in order: runs are sorted in memory, kept in a temporary file, and merged."""

import heapq
import os
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Final, Self

RUN_KEYS: Final = 1 << 18
"""So many keys are held in memory."""
_READ_KEYS = 4096


class SortedKeys:
    """Keys of `width` bytes, which may repeat. All are added before they are read. Not thread-safe.

    Raises OSError where the temporary folder has no room. To be closed, or used as a context.
    """

    def __init__(self, width: int, *, run_keys: int = RUN_KEYS) -> None:
        self._width, self._run_keys = width, run_keys
        self._run: list[bytes] = []
        self._ends = [0]
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, key: bytes) -> None:
        """Take one more key."""
        self._run.append(key)
        if len(self._run) >= self._run_keys:
            self._spill()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the keys in ascending order of their bytes."""
        self._run.sort()
        if self._file is None:
            return iter(self._run)
        self._file.flush()
        runs = [self._stored(start, end) for start, end in zip(self._ends, self._ends[1:], strict=False)]
        return heapq.merge(*runs, self._run)

    def close(self) -> None:
        """Forget the keys."""
        self._run = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does
        self._run.sort()
        self._file.write(b"".join(self._run))
        self._ends.append(self._file.tell())
        self._run = []

    def _stored(self, start: int, end: int) -> Iterator[bytes]:
        if self._file is None:
            return
        width, number = self._width, self._file.fileno()
        while start < end:
            block = os.pread(number, min(end - start, width * _READ_KEYS), start)
            start += len(block)
            for at in range(0, len(block), width):
                yield block[at : at + width]
