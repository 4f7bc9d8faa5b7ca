"""The store: contents by their digest, `ab/cd/<BLAKE3>` below one root, each there whole or not at all.

Publishing goes like this, and may end anywhere:

1. a temporary file in `.tmp`, locked for as long as its process lives; the content goes there, hashed on the way;
2. where the store has this content already, what it has is read again: sound, it stays, and the rest is left out;
3. mode 0444, fsync of the file;
4. a link under the final name, which never takes another's place; only a blob that was found unsound is replaced;
5. the temporary name goes, fsync of the folder.
"""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

import msgspec
from blake3 import blake3

from tallystick.errors import TallyError
from tallystick.storage.crashing import crash_point
from tallystick.storage.disk import (
    Progress,
    make_folder,
    open_for_reading,
    read_blocks,
    storage_errors,
    sync_folder,
    unheard,
    write_sparse,
)

TEMPORARY = ".tmp"
_BLOBID = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(rb"[0-9a-f]{2}")
_BLOB_MODE, _FOLDER_MODE = 0o444, 0o755


class WrongSizeError(TallyError):
    """A content is longer or shorter than it was said to be; nothing was published."""

    def __init__(self, *, expected: int, found: int) -> None:
        """`found` is how much was read, which is not all where it is too long."""
        self.expected, self.found = expected, found
        super().__init__(f"read {found} bytes where {expected} were expected; enumerate and copy it again")


class Published(msgspec.Struct, frozen=True):
    """A content that is in the store, durably.

    `created` says that the store did not have it before, `healed` that what it had under this name was something else.
    """

    blobid: str
    sha256: str
    size: int
    created: bool
    healed: bool


class Blob(msgspec.Struct, frozen=True):
    """A file in the place of a blob. Only reading it tells whether it is sound."""

    blobid: str
    size: int


class Stray(msgspec.Struct, frozen=True):
    """Something in the store that is no blob: its path below the root."""

    path: bytes


class _Held(Enum):
    NOTHING = "nothing"
    SOUND = "sound"
    UNSOUND = "unsound"


def blob_path(blobid: str) -> str:
    """Return where a blob lies below the store's root: `ab/cd/<64 hex digits>`. Raises ValueError for anything else."""
    if not _BLOBID.fullmatch(blobid):
        raise ValueError(f"{blobid!r} is no blob id: 64 hexadecimal digits")
    return f"{blobid[:2]}/{blobid[2:4]}/{blobid}"


class Store:
    """A folder of contents by their digest, which any number of threads and processes may use at once.

    Whoever can enter `root` can read it: blobs are readable by all, whatever the umask. It is made when it is needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._durable: set[Path] = set()

    def path(self, blobid: str) -> Path:
        """Return where a blob lies, or would. Raises ValueError where this is no blob id."""
        return self.root / blob_path(blobid)

    def publish(self, blocks: Iterable[bytes], *, size: int, progress: Progress = unheard) -> Published:
        """Take in a content of `size` bytes and return once it is durable under its digest.

        Where it is not taken in nothing is left of it. Raises WrongSizeError, NoSpaceError, StorageError, and whatever
        `blocks` raises.
        """
        with self._temporary() as (opened, temporary):
            blobid, sha256 = self._fill(opened, blocks, size=size, progress=progress)
            final = self.path(blobid)
            with storage_errors("publish", final):
                held = self._held(blobid, progress)
                if held is not _Held.SOUND:
                    os.fchmod(opened, _BLOB_MODE)
                    crash_point("store.written")
                    os.fsync(opened)
                    crash_point("store.synced")
                    held = self._name(temporary, blobid, held=held, progress=progress)
                    crash_point("store.linked")
                temporary.unlink(missing_ok=True)
                crash_point("store.unlinked")
                # Also of a blob that was there: whoever linked it may have died before this.
                self._settle(final.parent)
        return Published(
            blobid=blobid,
            sha256=sha256,
            size=size,
            created=held is _Held.NOTHING,
            healed=held is _Held.UNSOUND,
        )

    def find(self, blobid: str) -> int | None:
        """Return the size of a blob, None where there is no file in its place. Raises ValueError, StorageError."""
        path = self.path(blobid)
        with storage_errors("look for", path):
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read(self, blobid: str) -> Iterator[bytes]:
        """Return the content of a blob in blocks. Raises ValueError, and StorageError where it can't be read."""
        path = self.path(blobid)
        with storage_errors("read", path), open_for_reading(path) as opened:
            yield from read_blocks(opened)

    def verify(self, blobid: str, *, progress: Progress = unheard) -> str | None:
        """Return the BLAKE3 of what lies in the place of a blob, which is `blobid` if it is sound; None for nothing.

        Raises ValueError, and StorageError where it can't be read.
        """
        if self.find(blobid) is None:
            return None
        digest = blake3()
        for block in self.read(blobid):
            digest.update(block)
            progress()
        return digest.hexdigest()

    def entries(self) -> Iterator[Blob | Stray]:
        """Return all that lies in the store but temporary files, blobs in the order of their ids. Raises StorageError.

        What comes and goes meanwhile may be left out.
        """
        yield from _entries(self.root, b"")

    def sweep(self) -> int:
        """Remove the temporary files whose processes have ended; return how many. Raises StorageError."""
        folder, swept = self.root / TEMPORARY, 0
        with storage_errors("sweep", folder):
            for path in folder.iterdir() if folder.is_dir() else ():
                swept += _remove_unowned(path)
        return swept

    @contextmanager
    def _temporary(self) -> Iterator[tuple[int, Path]]:
        """Give a new file that is locked, and is gone in the end."""
        folder = self.root / TEMPORARY
        with storage_errors("create a file in", folder):
            if folder not in self._durable:
                self._make(folder)
                self._settle(folder)
            opened, path = _create_locked(folder)
        try:
            crash_point("store.created")
            yield opened, path
        finally:
            os.close(opened)
            with storage_errors("remove", path):
                path.unlink(missing_ok=True)

    def _fill(self, opened: int, blocks: Iterable[bytes], *, size: int, progress: Progress) -> tuple[str, str]:
        """Write a content and return its digests, BLAKE3 and SHA-256."""
        whole, second, found = blake3(), hashlib.sha256(), 0
        for block in blocks:
            if found + len(block) > size:
                raise WrongSizeError(expected=size, found=found + len(block))
            whole.update(block)
            second.update(block)
            with storage_errors("write to", self.root):
                write_sparse(opened, block, at=found)
            found += len(block)
            crash_point("store.half-written")
            progress()
        if found != size:
            raise WrongSizeError(expected=size, found=found)
        with storage_errors("write to", self.root):
            os.ftruncate(opened, size)
        return whole.hexdigest(), second.hexdigest()

    def _held(self, blobid: str, progress: Progress) -> _Held:
        """Read what is in the place of a blob. Raises OSError, but where it is this very file that can't be read."""
        path = self.path(blobid)
        try:
            found = path.lstat()
        except FileNotFoundError:
            return _Held.NOTHING
        if not stat.S_ISREG(found.st_mode):
            return _Held.UNSOUND
        digest = blake3()
        try:
            with open_for_reading(path) as opened:
                for block in read_blocks(opened):
                    digest.update(block)
                    progress()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return _Held.UNSOUND
        return _Held.SOUND if digest.hexdigest() == blobid else _Held.UNSOUND

    def _name(self, temporary: Path, blobid: str, *, held: _Held, progress: Progress) -> _Held:
        """Give a file its final name; return what was under it, sound where another was faster. Raises OSError."""
        final = self.path(blobid)
        self._make(final.parent)
        while held is _Held.NOTHING:
            with suppress(FileExistsError):
                os.link(temporary, final)
                return held
            held = self._held(blobid, progress)
        if held is _Held.UNSOUND:
            temporary.replace(final)
        return held

    def _make(self, folder: Path) -> None:
        """Make a folder that is open to all, unless this store knows it. Raises OSError."""
        if folder in self._durable:
            return
        if folder == self.root:
            if make_folder(folder):
                folder.chmod(_FOLDER_MODE)
            return
        self._make(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        if stat.S_IMODE(folder.stat().st_mode) & _FOLDER_MODE != _FOLDER_MODE:
            folder.chmod(_FOLDER_MODE)

    def _settle(self, folder: Path) -> None:
        """Make durable which names a folder holds, and its own, once in the life of this store. Raises OSError.

        Also of a folder that was there: whoever made it may have died before this. All in the end, rather than after
        each step, is one commit of the file system's journal rather than several.
        """
        sync_folder(folder)
        if folder not in self._durable:
            if folder != self.root:
                self._settle(folder.parent)
            self._durable.add(folder)


def _create_locked(folder: Path) -> tuple[int, Path]:
    """Create a file in `folder` that nobody else takes for abandoned. Raises OSError."""
    while True:
        path = folder / secrets.token_hex(16)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Before the lock a sweep may come, which holds it and removes the file: then again.
        with suppress(BlockingIOError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(opened).st_nlink:
                return opened, path
        os.close(opened)


def _remove_unowned(path: Path) -> bool:
    """Remove a file unless somebody holds its lock. Raises OSError."""
    with suppress(FileNotFoundError, BlockingIOError), open_for_reading(path) as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


def _entries(root: Path, below: bytes) -> Iterator[Blob | Stray]:
    """Return what lies in the folder `below`, which ends with a slash or is empty."""
    folder, depth = root / os.fsdecode(below), below.count(b"/")
    with storage_errors("list", folder):
        try:
            found = sorted(os.scandir(os.fsencode(folder)), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
    for entry in found:
        path = below + entry.name
        if depth < 2 and _FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            yield from _entries(root, path + b"/")
        elif _is_blob(entry, path):
            with suppress(FileNotFoundError):
                yield Blob(os.fsdecode(entry.name), entry.stat(follow_symlinks=False).st_size)
        elif path != os.fsencode(TEMPORARY):
            yield Stray(path)


def _is_blob(entry: os.DirEntry[bytes], path: bytes) -> bool:
    name = os.fsdecode(entry.name)
    return (
        _BLOBID.fullmatch(name) is not None
        and os.fsencode(blob_path(name)) == path
        and entry.is_file(follow_symlinks=False)
    )
