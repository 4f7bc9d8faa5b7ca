"""The content of a file, decompressed as it is read: plain, gzip, bzip2, xz or zstd, told by content, never by name.

Several members, streams or frames in a row are one content, and zeros between or after them are padding. However far a
file expands, only what was asked for is ever held.
"""

import bz2
import contextlib
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

import msgspec

from tallystick.errors import TallyError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

CHUNK_BYTES = 1024 * 1024
_INPUT_BYTES = 64 * 1024
_MAGIC_BYTES = 10
_XZ_MEMORY_BYTES = 256 * 1024 * 1024
_DAMAGE = (zlib.error, lzma.LZMAError, ZstdError, EOFError, OSError)
"""What decompressors raise; bz2 raises OSError. Errors of the file itself arise elsewhere."""


class DamagedStream(TallyError):
    """A compressed stream is damaged or ends early. All that could be decompressed was returned before."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """One gzip member, with the interface of the other decompressors."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not (self._full or self._inner.unconsumed_tail or self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._inner.decompress(self._inner.unconsumed_tail or data, max_length)
        self._full = len(found) == max_length
        return found


class _Format(msgspec.Struct, frozen=True):
    name: str
    magics: tuple[bytes, ...]
    make: Callable[[], _Decompressor]


_FORMATS = (
    _Format("gzip", (b"\x1f\x8b\x08",), _Gzip),
    _Format(
        "bzip2",
        tuple(b"BZh%d" % level + block for level in range(1, 10) for block in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")),
        bz2.BZ2Decompressor,
    ),
    _Format("xz", (b"\xfd7zXZ\x00",), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)),
    _Format("zstd", (b"\x28\xb5\x2f\xfd", *(b"%c\x2a\x4d\x18" % kind for kind in range(0x50, 0x60))), ZstdDecompressor),
)


class Content(Protocol):
    """The decompressed content of an open file. Not thread-safe."""

    position: int
    """How many bytes of content lie before the next one that is read."""

    def read(self, size: int) -> bytes:
        """Return the next 1 to `size` bytes, or none where the file ends; a file that has grown can be read on.

        Raises DamagedStream (each time, once it has come to that) and OSError.
        """

    def seek(self, position: int) -> None:
        """Go on reading at `position`, which the content must reach. Raises DamagedStream and OSError."""

    def damage(self) -> DamagedStream | None:
        """Return what is wrong where `read` came to an end: nothing, damage, or an end inside of a stream."""

    def bytes_read(self) -> int:
        """Return how far the file itself has been read, in bytes."""


class PlainContent:
    """The content of a file that is not compressed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.position = file, 0

    def read(self, size: int) -> bytes:
        """See `Content`."""
        data = self._file.read(size)
        self.position += len(data)
        return data

    def seek(self, position: int) -> None:
        """See `Content`."""
        self.position = self._file.seek(position)

    def damage(self) -> DamagedStream | None:
        """See `Content`; a plain file may end anywhere."""
        return None

    def bytes_read(self) -> int:
        """See `Content`."""
        return self.position


class CompressedContent:
    """The content of a compressed file."""

    position: int
    _decompressor: _Decompressor | None
    _damage: DamagedStream | None
    _unused: bytes
    _member_at: int
    _input_at: int
    _produced: int

    def __init__(self, file: BinaryIO, form: _Format) -> None:
        self._file, self._format = file, form
        self._restart()

    def read(self, size: int) -> bytes:
        """See `Content`."""
        while self._damage is None:
            if self._decompressor is None and not self._begin_member():
                return b""
            if (current := self._decompressor) is None:
                continue
            data = self._next_input() if current.needs_input else b""
            if current.needs_input and not data:
                return b""
            try:
                found = current.decompress(data, size)
            except _DAMAGE as error:
                self._damage = self._damaged(f"is damaged near byte {self._file.tell()} of the file ({error})")
                found = self._rescue()
            if current.eof:
                self._unused, self._decompressor = current.unused_data, None
            if found:
                self._produced += len(found)
                self.position += len(found)
                return found
        raise self._damage

    def seek(self, position: int) -> None:
        """See `Content`. Going back decompresses from the start again."""
        if position < self.position:
            self._restart()
        while self.position < position:
            if not self.read(min(CHUNK_BYTES, position - self.position)):
                raise self._damaged(f"has become shorter than {position} bytes while it was read")

    def damage(self) -> DamagedStream | None:
        """See `Content`."""
        if self._damage is None and (self._decompressor is not None or self._unused):
            return self._damaged(f"ends early, after byte {self._file.tell()} of the file")
        return self._damage

    def bytes_read(self) -> int:
        """See `Content`."""
        return self._file.tell()

    def _restart(self) -> None:
        self._file.seek(0)
        self._decompressor, self._damage, self._unused = None, None, b""
        self._member_at = self._input_at = self._produced = self.position = 0

    def _begin_member(self) -> bool:
        """Find the next member; False where there is none, True where there is one or the file is damaged there."""
        self._unused = self._unused.lstrip(b"\0")
        while len(self._unused) < _MAGIC_BYTES and (more := self._file.read(_INPUT_BYTES)):
            self._unused = (self._unused + more).lstrip(b"\0")
        if not self._unused:
            return False
        at = self._file.tell() - len(self._unused)
        if self._unused.startswith(self._format.magics):
            self._decompressor, self._member_at, self._produced = self._format.make(), at, 0
        elif len(self._unused) < _MAGIC_BYTES:
            return False
        else:
            self._damage = self._damaged(f"is followed by something else at byte {at} of the file")
        return True

    def _next_input(self) -> bytes:
        data, self._unused = self._unused or self._file.read(_INPUT_BYTES), b""
        self._input_at = self._file.tell() - len(data)
        return data

    def _rescue(self) -> bytes:
        """Return what the decompressor had found, but not returned, when it came to the damage.

        Decompresses the member again, byte by byte where it failed; that is less than the caller asked for.
        """
        self._file.seek(self._member_at)
        again, skip, rescued = self._format.make(), self._produced, bytearray()
        # The error that ends this is the one already kept in `_damage`.
        with contextlib.suppress(*_DAMAGE):
            while not again.eof:
                step = max(1, min(_INPUT_BYTES, self._input_at - self._file.tell()))
                data = self._file.read(step) if again.needs_input else b""
                if again.needs_input and not data:
                    break
                found = again.decompress(data, CHUNK_BYTES)
                rescued += found[skip:]
                skip -= min(skip, len(found))
        return bytes(rescued)

    def _damaged(self, what: str) -> DamagedStream:
        return DamagedStream(
            f"the {self._format.name} stream {what}; what came before is loaded: get an undamaged copy and load that"
        )


def decompressed(file: BinaryIO) -> Content:
    """Return the content of `file`, which is at its start, seekable and best unbuffered. Raises OSError."""
    start = file.read(_MAGIC_BYTES)
    file.seek(0)
    for form in _FORMATS:
        if start.startswith(form.magics):
            return CompressedContent(file, form)
    return PlainContent(file)
