"""A listing that exists: the records of an `.raw` that ntt, find or Tallystick has written.

It is read twice. First it is looked whether it is whole, as its sidecar says where there is one, and which paths stand
in it twice: a second time with the same inode is left out, with another one the listing is refused.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from producers.media.errors import MalformedError, PreconditionError
from tallystick.contracts import listings
from tallystick.contracts.listings import Fault, FileSystem, ListingError, Record, Sidecar, Written
from tallystick.contracts.media import Entry, Found
from tallystick.contracts.text import printable
from tallystick.storage.sorting import SortedKeys

CHUNK_BYTES: Final = 1 << 20
SIDECAR_SUFFIX: Final = b".json"
_KEY: Final = struct.Struct(">32sQqq")
"""Digest of a path, offset of its record, device and inode: sorted, a path's records follow each other in order."""


class ListingWalk:
    """Goes through the listing at `path`, once. Devices are parts in the order of their first appearance.

    Paths are told below the folder that the first record names, where all others lie in it, else below `/`.
    """

    def __init__(self, path: bytes, *, beat: Callable[[], None]) -> None:
        """Read the listing for the first time.

        Raises PreconditionError where it can't be read, MalformedError where it is not as it must be.
        """
        self._shown, self._beat = printable(os.fsdecode(path)), beat
        self.duplicates = 0
        """How many records were left out, as their path stood before with the same inode."""
        self._repeats: set[int] = set()
        self._parts: dict[int, int] = {}
        self._mount = b"/"
        try:
            self._file = Path(os.fsdecode(path)).open("rb", buffering=0)  # noqa: SIM115 - `close` does
        except OSError as error:
            raise PreconditionError(
                "no_listing", f"the listing {self._shown} can't be read ({error.strerror}): put it where it was"
            ) from error
        try:
            self.written = self._check()
            self.sidecar = _sidecar(path + SIDECAR_SUFFIX)
            if self.sidecar:
                listings.compare(self.sidecar, self.written)
        except ListingError as error:
            self.close()
            raise MalformedError(error.fault.value, f"{self._shown}: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """The devices of the listing, in order of their part."""
        return tuple(FileSystem(part, "listed", description=f"device {dev}") for dev, part in self._parts.items())

    def mount(self, part: int) -> bytes:  # noqa: ARG002 - paths of all devices are told below the one root
        """Return below which folder the paths lie."""
        return self._mount

    def close(self) -> None:
        """Close the listing."""
        self._file.close()

    def __iter__(self) -> Iterator[Entry]:
        """Yield the records. Raises MalformedError where the listing has changed since it was opened."""
        try:
            for record in listings.parse(self._chunks()):
                if record.at not in self._repeats:
                    yield self._found(record)
        except ListingError as error:
            raise MalformedError(error.fault.value, f"{self._shown}: {error}") from error

    def _found(self, record: Record) -> Found:
        below = record.path[len(self._mount.rstrip(b"/")) :].strip(b"/")
        return Found(
            part=self._parts[record.dev],
            ino=record.ino,
            type=record.type,
            nlink=record.nlink,
            size=record.size,
            mtime=record.mtime,
            path=below or b".",
            dev=record.dev,
        )

    def _chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            self._beat()
            yield chunk

    def _check(self) -> Written:
        """Read the listing once. Raises ListingError."""
        hasher, size = blake3(), 0

        def chunks() -> Iterator[bytes]:
            nonlocal size
            for chunk in self._chunks():
                hasher.update(chunk)
                size += len(chunk)
                yield chunk

        count, mount, inside = 0, b"/", True
        with SortedKeys(_KEY.size) as keys:
            for record in listings.parse(chunks()):
                count += 1
                if count == 1 and record.type == "d":
                    mount = record.path.rstrip(b"/")
                elif inside:
                    inside = record.path.startswith(mount.rstrip(b"/") + b"/")
                self._parts.setdefault(record.dev, len(self._parts))
                keys.add(_KEY.pack(blake3(record.path).digest(), record.at, record.dev, record.ino))
            self._repeats = self._repeated(keys)
        if count == 0:
            raise ListingError(Fault.EMPTY, 0, "there is no record")
        self._mount = (mount or b"/") if inside else b"/"
        self.duplicates = len(self._repeats)
        return Written(count, size, hasher.hexdigest())

    def _repeated(self, keys: SortedKeys) -> set[int]:
        """Return where the records are whose path stands before. Raises ListingError for one with another inode."""
        repeats: set[int] = set()
        before: tuple[bytes, int, int] | None = None
        for number, key in enumerate(keys):
            if number % CHUNK_BYTES == 0:
                self._beat()
            path, at, dev, ino = _KEY.unpack(key)
            if before and before[0] == path:
                if before[1:] != (dev, ino):
                    what = f"the path of inode {before[2]} stands there again, with inode {ino}"
                    raise ListingError(Fault.PATH_CONFLICT, at, what)
                repeats.add(at)
            before = (path, dev, ino)
        return repeats


def _sidecar(path: bytes) -> Sidecar | None:
    """Return what stands beside a listing; None where nothing does, as with those of others."""
    try:
        return listings.decode_sidecar(Path(os.fsdecode(path)).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        shown = printable(os.fsdecode(path))
        raise MalformedError("bad_sidecar", f"{shown} can't be read ({error}): enumerate the medium again") from error
