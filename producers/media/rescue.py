"""Getting the bytes of a device into an image: by ddrescue, or by a plain pass that does with what Python has."""

import errno
import fcntl
import os
import stat
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tallystick.contracts import rescue_maps
from tallystick.contracts.rescue_maps import BAD, READ, UNTRIED, Extent, RescueMap, joined
from tallystick.contracts.text import printable
from tallystick.errors import ContractError, NoSpaceError, StorageError
from tallystick.local.files import replace
from tallystick.storage.crashing import crash_point
from tallystick.storage.disk import BLOCK_BYTES, Progress, open_for_reading, storage_errors, sync_folder, write_sparse

MAP_BYTES = 64 * BLOCK_BYTES
"""After how much more of the device the plain pass makes durable what it has, and tells of it in the map."""
_STEPS = (BLOCK_BYTES, 64 * 1024)
"""How much is read at once; a sector in the end."""
_SECTOR_BYTES = 512
_BLKSSZGET = 0x1268
_UNREADABLE = frozenset({errno.EIO, errno.ENODATA, errno.EILSEQ, errno.ETIMEDOUT})
"""What the kernel says of sectors, rather than of a device that is gone."""
_LOOK_SECONDS = 0.5
_MAP_SECONDS = 30


class Rescue(msgspec.Struct, frozen=True):
    """A device and its size in bytes, the file that its bytes go to, the map of it, and ddrescue's log of events."""

    device: Path
    size: int
    image: Path
    chart: Path
    log: Path


def read_map(path: Path) -> RescueMap:
    """Return the map in a file. Raises StorageError."""
    try:
        with storage_errors("read", path):
            return rescue_maps.parse(path.read_bytes())
    except ContractError as error:
        raise StorageError(f"{printable(str(path))}: {error}") from error


def ddrescue(rescue: Rescue, *, program: str, lock: int, progress: Progress) -> None:
    """Have ddrescue do it, whose child keeps `lock` open, also where this process is killed.

    `progress` is called while image or map grow. Raises StorageError, NoSpaceError.
    """
    command = (
        program,
        "--quiet",
        f"--sector-size={_sector_bytes(rescue.device)}",
        f"--mapfile-interval={_MAP_SECONDS}",
        f"--log-events={rescue.log}",
        "--",
        str(rescue.device),
        str(rescue.image),
        str(rescue.chart),
    )
    with subprocess.Popen(
        command,
        pass_fds=(lock,),
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            said = _followed(child, rescue, progress)
        finally:
            if child.poll() is None:
                child.terminate()  # it writes its map then
    if child.returncode:
        error = NoSpaceError if os.strerror(errno.ENOSPC) in said else StorageError
        raise error(
            f"ddrescue ended with {child.returncode} on {printable(str(rescue.device))}: {printable(said)[-500:]}; "
            "see to that, then run the same again: it goes on where it was"
        )


def plain_pass(rescue: Rescue, *, progress: Progress) -> None:
    """Read all that is yet to be tried, once: by 1 MiB, and where that fails by less, down to a sector.

    Raises StorageError where the device fails in another way than sectors do, NoSpaceError.
    """
    chart = read_map(rescue.chart) if rescue.chart.exists() else RescueMap((), finished=False)
    steps = (*_STEPS, _sector_bytes(rescue.device))
    with (
        storage_errors("read", rescue.device),
        open_for_reading(rescue.device.resolve()) as source,
        rescue.image.open("r+b", buffering=0) as image,
    ):
        with storage_errors("write", rescue.image):
            image.truncate(rescue.size)
        todo = deque(chart.covering(rescue.size))
        done: list[Extent] = []
        unsaved = 0
        while todo:
            extent = todo.popleft()
            if extent.status in (READ, BAD):
                done.append(extent)
                continue
            piece, rest = extent.split(BLOCK_BYTES)
            if rest.size:
                todo.appendleft(rest)
            for found, data in _read(source, piece, steps):
                with storage_errors("write", rescue.image):
                    write_sparse(image.fileno(), data, at=found.start)
                done.append(found)
            crash_point("image.half-read")
            unsaved += piece.size
            if unsaved >= MAP_BYTES:
                _save(rescue, image.fileno(), RescueMap(joined([*done, *todo]), finished=False))
                unsaved = 0
            progress()
        _save(rescue, image.fileno(), RescueMap(joined(done), finished=True))


def _read(source: int, extent: Extent, steps: Sequence[int]) -> Iterator[tuple[Extent, bytes]]:
    """Yield what could be read with its bytes, and what could not with none. Raises OSError."""
    step, *smaller = steps
    at = extent.start
    while at < extent.end:
        size = min(step - at % step, extent.end - at)
        try:
            data = os.pread(source, size, at)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            data = b""
        if data:
            yield Extent(at, len(data), READ), data
        elif smaller:
            yield from _read(source, Extent(at, size, UNTRIED), smaller)
        else:
            yield Extent(at, size, BAD), b""
        at += len(data) or size


def _save(rescue: Rescue, image: int, chart: RescueMap) -> None:
    """Make durable what was read, and then the map that tells of it. Raises StorageError."""
    with storage_errors("write", rescue.image):
        os.fsync(image)
    with storage_errors("write", rescue.chart):
        replace(rescue.chart, rescue_maps.render(chart))
        sync_folder(rescue.chart.parent)
    crash_point("image.mapped")


def _followed(child: "subprocess.Popen[bytes]", rescue: Rescue, progress: Progress) -> str:
    """Wait until a child has ended and return what it said."""
    seen: tuple[int, ...] = ()
    while True:
        try:
            return child.communicate(timeout=_LOOK_SECONDS)[1].decode("utf-8", "replace").strip()
        except subprocess.TimeoutExpired:
            if seen != (seen := _state(rescue)):
                progress()


def _state(rescue: Rescue) -> tuple[int, ...]:
    """Return something that changes with image and map."""
    return tuple(path.stat().st_mtime_ns for path in (rescue.image, rescue.chart) if path.exists())


def _sector_bytes(device: Path) -> int:
    """Return the size of a sector of a device. Raises StorageError."""
    with storage_errors("read", device), open_for_reading(device.resolve()) as opened:
        if not stat.S_ISBLK(os.fstat(opened).st_mode):
            return _SECTOR_BYTES
        return int.from_bytes(fcntl.ioctl(opened, _BLKSSZGET, bytes(4)), "little")
