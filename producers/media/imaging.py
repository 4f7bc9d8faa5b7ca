"""Imaging: a device becomes `<medium>.img`, with a map in ddrescue's format that tells which bytes could be read.

ddrescue does it where it is installed, else a plain pass does. Either goes on where it was when it is run again. While
it lasts the image is `<medium>.img.partial`; it has its final name once the map is finished and all of it is durable.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from blake3 import blake3

from producers.media.archiving import log_beside
from producers.media.rescue import Rescue, ddrescue, plain_pass, read_map
from tallystick.contracts.text import printable
from tallystick.errors import StorageError
from tallystick.storage.archives import PARTIAL
from tallystick.storage.crashing import crash_point
from tallystick.storage.disk import (
    Progress,
    make_folder,
    open_for_reading,
    read_blocks,
    storage_errors,
    sync_folder,
    unheard,
)

DDRESCUE = "ddrescue"
_MODE = 0o644


class Imaged(msgspec.Struct, frozen=True):
    """A whole image: its size in bytes, how many of them could not be read and are zeros, the BLAKE3 of all of it."""

    size: int
    bad_bytes: int
    digest: str

    @property
    def counts(self) -> dict[str, int]:
        """The IMAGE_COUNTS."""
        return {"bytes": self.size, "bad_bytes": self.bad_bytes}


def image_path(medium: str, *, images: Path) -> Path:
    """Return where the image of a device lies."""
    return images / f"{medium}.img"


def map_path(medium: str, *, images: Path) -> Path:
    """Return where the map of the image of a device lies."""
    return images / f"{medium}.map"


def image_device(
    device: Path, medium: str, *, images: Path, program: str = DDRESCUE, progress: Progress = unheard
) -> Imaged:
    """Make the image of a device, or find that it is there; go on where an earlier run has ended.

    `program` is ddrescue, by name or path; where there is none of this name the plain pass takes its place. Raises
    StorageError where the device can't be read at all, or is another one than the map tells of, or the image can't be
    written; NoSpaceError. What was read until then stays for the next run.
    """
    final, chart = image_path(medium, images=images), map_path(medium, images=images)
    with storage_errors("read", device), open_for_reading(device.resolve()) as source:
        size = os.lseek(source, 0, os.SEEK_END)
    if not size:
        raise StorageError(f"{printable(str(device))} holds nothing: put the medium in, then run the same again")
    with storage_errors("write to", images):
        make_folder(images)
    with _locked(final) as (partial, lock):
        rescue = Rescue(device, size, partial, chart, Path(os.fsdecode(log_beside(os.fsencode(final)))))
        if not final.exists():
            with storage_errors("write", partial):
                _begin(rescue)
            if found := shutil.which(program):
                ddrescue(rescue, program=found, lock=lock, progress=progress)
            else:
                plain_pass(rescue, progress=progress)
            _end(rescue, lock, final)
        else:
            with storage_errors("remove", partial):
                partial.unlink()
    return _told(final, chart, size=size, progress=progress)


@contextmanager
def _locked(final: Path) -> Iterator[tuple[Path, int]]:
    """Give the file that is to become the image, and its lock, which children may keep. Raises StorageError."""
    path = final.with_name(final.name + PARTIAL)
    with storage_errors("write", path):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        with storage_errors("write", path):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path, opened
    finally:
        os.close(opened)


def _begin(rescue: Rescue) -> None:
    """See to it that the map tells of what is in the image, and of this device. Raises OSError, StorageError."""
    if not rescue.image.stat().st_size:
        rescue.chart.unlink(missing_ok=True)
    elif not rescue.chart.exists():
        os.truncate(rescue.image, 0)
    elif (known := read_map(rescue.chart).end) > rescue.size:
        raise StorageError(
            f"{printable(str(rescue.chart))} tells of {known} bytes, but {printable(str(rescue.device))} has "
            f"{rescue.size}: put the same medium in, or move the map and {rescue.image.name} away"
        )
    rescue.image.chmod(_MODE)


def _end(rescue: Rescue, lock: int, final: Path) -> None:
    """Give the image its final name. Raises StorageError where the map is not finished."""
    chart = read_map(rescue.chart)
    if not chart.finished or chart.end != rescue.size:
        raise StorageError(f"{printable(str(rescue.chart))} is not finished: run the same again")
    with storage_errors("write", final):
        os.ftruncate(lock, rescue.size)  # where its last sectors can't be read ddrescue leaves it shorter
        os.fsync(lock)
        crash_point("image.synced")
        rescue.image.rename(final)
        crash_point("image.named")
        sync_folder(final.parent)


def _told(final: Path, chart: Path, *, size: int, progress: Progress) -> Imaged:
    """Read the image and its map back. Raises StorageError."""
    bad, digest, found = read_map(chart), blake3(), 0
    with storage_errors("read", final), open_for_reading(final) as opened:
        for block in read_blocks(opened):
            digest.update(block)
            found += len(block)
            progress()
    if not bad.finished or bad.end != found or found != size:
        raise StorageError(
            f"{printable(str(final))} has {found} bytes, its map tells of {bad.end}, the device has {size}: "
            "move image and map away, and image the device again"
        )
    return Imaged(size=found, bad_bytes=bad.bad_bytes, digest=digest.hexdigest())
