"""The content of a plain file that may change under its reader: grow, be cut, be written anew. Costs nothing when idle.

What was read is the file's own only if the file still begins as it did, and still has before the new bytes what it had
there: both are compared after each read. So no byte of another content is ever taken for this one's.
"""

import os
from typing import BinaryIO

from producers.cowrie.decompression import DamagedStream

_MARK_BYTES = 1024


class LiveContent:
    """See `Content`. It may be closed between two reads; once `replaced` it reads nothing any more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: BinaryIO | None = file
        self._head = self._before = b""
        self.position = 0
        self.replaced = False

    @property
    def is_open(self) -> bool:
        """Whether a file is held open."""
        return self._file is not None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def reopen(self, file: BinaryIO) -> None:
        """Go on in `file`, the same one, maybe at another path; what is another counts as replaced. Raises OSError."""
        self.close()
        self._file = file
        file.seek(self.position)
        self.replaced = self.replaced or not self._is_the_same()

    def read(self, size: int) -> bytes:
        """See `Content`. None as well where the file is closed or has been replaced."""
        if self._file is None or self.replaced:
            return b""
        data = self._file.read(size)
        if not self._is_the_same():
            self.replaced = True
            return b""
        self.position += len(data)
        if data:
            self._remember(data)
        return data

    def seek(self, position: int) -> None:
        """See `Content`."""
        if self._file is None:
            raise ValueError("a closed file has no position")
        self.position = self._file.seek(position)
        descriptor = self._file.fileno()
        self._head = os.pread(descriptor, min(position, _MARK_BYTES), 0)
        start = max(position - _MARK_BYTES, 0)
        self._before = os.pread(descriptor, position - start, start)

    def damage(self) -> DamagedStream | None:
        """See `Content`; a plain file may end anywhere."""
        return None

    def bytes_read(self) -> int:
        """See `Content`."""
        return self.position

    def _remember(self, data: bytes) -> None:
        if len(self._head) < _MARK_BYTES:
            self._head = (self._head + data)[:_MARK_BYTES]
        self._before = (self._before + data)[-_MARK_BYTES:]

    def _is_the_same(self) -> bool:
        """Whether the file still holds what was read of it, as far as its marks tell."""
        assert self._file is not None, "only an open file is compared"  # noqa: S101 - the callers' invariant
        descriptor, start = self._file.fileno(), self.position - len(self._before)
        return (
            os.pread(descriptor, len(self._head), 0) == self._head
            and os.pread(descriptor, len(self._before), start) == self._before
        )
