"""Archives: a few listed files as one tar in zstd, which has its final name only once it was decoded again.

The tar is of the pax format, its members sorted by name and owned by nobody; the zstd frame carries a checksum.
Making one goes like this, and may end anywhere: `<final>.partial`, locked; fsync; all of it decoded, each member
compared with what was read; renamed; fsync of the folder. What is archived is only ever read.
"""

import fcntl
import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from blake3 import blake3

from tallystick.contracts.text import printable
from tallystick.errors import DamagedArchiveError, StorageError
from tallystick.storage.crashing import crash_point
from tallystick.storage.disk import (
    BLOCK_BYTES,
    Progress,
    make_folder,
    open_for_reading,
    storage_errors,
    sync_folder,
    unheard,
    write_all,
)

if sys.version_info >= (3, 14):
    from compression.zstd import CompressionParameter, ZstdError, ZstdFile
else:
    from backports.zstd import CompressionParameter, ZstdError, ZstdFile

PARTIAL = ".partial"
LEVEL, WINDOW_LOG, THREADS = 3, 27, 2
"""Duplicates are found up to 128 MiB apart, which is as far as decoders go without being asked."""
_MODE = 0o644


class Wanted(msgspec.Struct, frozen=True):
    """A file that is to be archived: its name in the archive, where it lies, the BLAKE3 that it must have, if known."""

    name: bytes
    path: Path
    digest: str = ""


class Member(msgspec.Struct, frozen=True, order=True):
    """A member of an archive: its name, its size in bytes, the BLAKE3 of its content."""

    name: bytes
    size: int
    digest: str


class Archive(msgspec.Struct, frozen=True):
    """A whole archive as it was decoded: its members in their order, its own size and BLAKE3."""

    members: tuple[Member, ...]
    size: int
    digest: str


def write_archive(final: Path, wanted: Sequence[Wanted], *, progress: Progress = unheard) -> Archive:
    """Archive files as `final` and return what decoding it gave; an archive that is there and equal is left as it is.

    Raises DamagedArchiveError where what is there, or what was written, is not what is wanted; NoSpaceError and
    StorageError. None of them leaves anything new, or has changed what was there.
    """
    ordered = sorted(wanted, key=lambda one: one.name)
    for before, after in pairwise(ordered):
        if before.name == after.name:
            raise StorageError(f"two files would be {_shown(after.name)} in {final}; archive them under other names")
    with storage_errors("write", final):
        make_folder(final.parent)
    with _partial(final) as partial:
        if os.path.lexists(final):
            return _equal(
                decode(final, progress=progress), [read_member(one, progress=progress) for one in ordered], final
            )
        with storage_errors("write", partial.path):
            members = _write(partial.file, ordered, progress)
            crash_point("archive.written")
            os.fsync(partial.file.fileno())
            crash_point("archive.synced")
            if sys.platform == "linux":  # so that what is decoded comes from the disk
                os.posix_fadvise(partial.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        archive = _equal(decode(partial.path, progress=progress), members, partial.path)
        crash_point("archive.decoded")
        with storage_errors("name", final):
            partial.path.rename(final)
            crash_point("archive.named")
            sync_folder(final.parent)
    return archive


def decode(path: Path, *, progress: Progress = unheard) -> Archive:
    """Read an archive to its last byte. Raises DamagedArchiveError, and StorageError where it can't be read."""
    with storage_errors("read", path), open_for_reading(path) as opened, os.fdopen(os.dup(opened), "rb", 0) as file:
        source = _Source(file, path, progress)
        try:
            with (
                ZstdFile(cast("BinaryIO", source)) as plain,
                tarfile.open(fileobj=plain, mode="r|", bufsize=BLOCK_BYTES, encoding="utf-8") as tar,
            ):
                members = tuple(_decoded(tar, info) for info in tar)
                _drain(tar)
        except (ZstdError, EOFError, tarfile.TarError) as error:
            raise DamagedArchiveError(
                f"{printable(str(path))} is damaged: {error}; move it away, and archive the medium again"
            ) from error
    return Archive(members=members, size=source.size, digest=source.digest)


class _Source:
    """A file that is read from its start to its end, hashed on the way."""

    def __init__(self, file: BinaryIO, path: Path, progress: Progress) -> None:
        self._file, self._path, self._progress = file, path, progress
        self._hash, self.size = blake3(), 0

    def read(self, size: int = -1) -> bytes:
        """Return what comes next. Raises StorageError."""
        with storage_errors("read", self._path):
            data = self._file.read(size)
        self._hash.update(data)
        self.size += len(data)
        self._progress()
        return data

    @property
    def digest(self) -> str:
        """The BLAKE3 of what was read."""
        return self._hash.hexdigest()


class _Sink:
    """A file that is written from its start to its end, each time all of it: the last room may be less than that."""

    def __init__(self, opened: int) -> None:
        self._opened, self._at = opened, 0

    def write(self, data: bytes) -> int:
        """Write all of `data`. Raises OSError."""
        write_all(self._opened, data, at=self._at)
        self._at += len(data)
        return len(data)


class _Partial(msgspec.Struct, frozen=True):
    path: Path
    file: BinaryIO


@contextmanager
def _partial(final: Path) -> Iterator[_Partial]:
    """Give the empty file that is to become `final`, to nobody else at the same time; it is gone in the end."""
    path = final.with_name(final.name + PARTIAL)
    with storage_errors("write", path), os.fdopen(_locked(path), "wb", 0) as file:
        try:
            os.ftruncate(file.fileno(), 0)
            os.fchmod(file.fileno(), _MODE)
            yield _Partial(path, file)
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> int:
    """Open the file that is to become an archive, with its lock. Raises OSError, and StorageError where it is held."""
    while True:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have given it its final name meanwhile: then it is not ours to write to.
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(opened).st_ino:
                    return opened
        except BlockingIOError:
            os.close(opened)
            raise StorageError(f"another process writes {printable(str(path))}; let it come to its end") from None
        os.close(opened)


def _write(file: BinaryIO, wanted: Sequence[Wanted], progress: Progress) -> list[Member]:
    """Write the archive and return what was read. Raises OSError of the archive, and StorageError of what is read."""
    members = []
    with (
        ZstdFile(cast("BinaryIO", _Sink(file.fileno())), "w", options=_options()) as compressed,
        tarfile.open(
            fileobj=compressed, mode="w|", bufsize=BLOCK_BYTES, format=tarfile.PAX_FORMAT, encoding="utf-8"
        ) as tar,
    ):
        for one in wanted:
            with _whole(one, progress) as source:
                info = tarfile.TarInfo(os.fsdecode(one.name))
                info.size, info.mtime, info.mode = source.expected, source.mtime, _MODE
                tar.addfile(info, cast("BinaryIO", source))
            members.append(Member(one.name, source.size, source.digest))
            crash_point("archive.half-written")
    return members


def read_member(one: Wanted, *, progress: Progress = unheard) -> Member:
    """Return what a file would be as a member. Raises StorageError."""
    with _whole(one, progress) as source:
        while source.read(BLOCK_BYTES):
            pass
    return Member(one.name, source.size, source.digest)


@contextmanager
def _whole(one: Wanted, progress: Progress) -> Iterator["_Original"]:
    """Give a file that is to be read once, whole. Raises StorageError where it was not, or is not what it must be."""
    with storage_errors("read", one.path):
        file = one.path.open("rb", 0)
    with file:
        source = _Original(file, one.path, progress)
        yield source
        source.check(one.digest)


class _Original(_Source):
    """A file that is archived, and must not change meanwhile."""

    def __init__(self, file: BinaryIO, path: Path, progress: Progress) -> None:
        super().__init__(file, path, progress)
        before = os.fstat(file.fileno())
        self.expected, self.mtime, self._mtime_ns = before.st_size, int(before.st_mtime), before.st_mtime_ns

    def read(self, size: int = -1) -> bytes:
        """Return what comes next; raises StorageError where there is less than there was."""
        data = super().read(size)
        if not data and self.size < self.expected and size:
            raise self._wrong("has become shorter while it was read")
        return data

    def check(self, digest: str) -> None:
        """Raise StorageError unless all was read, nothing has changed, and the content has this digest, if any."""
        after = os.fstat(self._file.fileno())
        if (after.st_size, after.st_mtime_ns) != (self.size, self._mtime_ns):
            raise self._wrong("has changed while it was read")
        if digest and digest != self.digest:
            raise self._wrong(f"has the BLAKE3 {self.digest}, not {digest} as when it was identified")

    def _wrong(self, what: str) -> StorageError:
        return StorageError(f"{printable(str(self._path))} {what}; see who writes to it, then ingest it again")


def _decoded(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    content = tar.extractfile(info) if info.isreg() else None
    if content is None:
        raise tarfile.ReadError(f"its member {_shown(_name(info))} is no file")
    digest, size = blake3(), 0
    while block := content.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return Member(_name(info), size, digest.hexdigest())


def _drain(tar: tarfile.TarFile) -> None:
    """Read on to the end, which the checksum comes after: tarfile stops at what it takes for the last member."""
    if tar.fileobj is None or not (rest := tar.fileobj.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError("it has no end")
    while rest:
        if rest.strip(b"\0"):
            raise tarfile.ReadError("something follows its last member")
        rest = tar.fileobj.read(BLOCK_BYTES)


def _equal(archive: Archive, members: Sequence[Member], path: Path) -> Archive:
    """Return the archive if these are its members. Raises DamagedArchiveError."""
    if archive.members != tuple(members):
        held, wanted = set(archive.members), set(members)
        names = ", ".join(_shown(member.name) for member in sorted(held ^ wanted)[:5])
        raise DamagedArchiveError(
            f"{printable(str(path))} does not hold what is to be archived: see {names}; "
            "move it away if it is not needed, then archive the medium again"
        )
    return archive


def _options() -> dict[int, int]:
    most = CompressionParameter.nb_workers.bounds()[1]
    return {
        CompressionParameter.compression_level: LEVEL,
        CompressionParameter.checksum_flag: 1,
        CompressionParameter.nb_workers: min(THREADS, most),
        CompressionParameter.enable_long_distance_matching: 1,
        CompressionParameter.window_log: WINDOW_LOG,
    }


def _name(info: tarfile.TarInfo) -> bytes:
    return info.name.encode("utf-8", "surrogateescape")


def _shown(name: bytes) -> str:
    return printable(os.fsdecode(name))
