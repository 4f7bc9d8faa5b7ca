"""Copying into the store, beside a plain loop that reads, hashes and writes the same files: by turns, on one disk."""

import hashlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from blake3 import blake3

from producers.media.contents import TreeContents, Work
from producers.media.copying import copy_all
from tallystick.contracts.media import CopyStatus
from tallystick.storage.disk import BLOCK_BYTES
from tallystick.storage.store import Store

MIB = 1024 * 1024
SHAPES = (("large files", 4, 32 * MIB), ("small files", 1_000, 4 * 1024))


class Copying(msgspec.Struct):
    """One way to copy files of one shape: the medians of all runs. CPU seconds are those of user and system."""

    shape: str
    way: str
    files: int
    bytes: int
    seconds: float
    cpu_seconds: float


def measure(folder: Path, *, runs: int) -> list[Copying]:
    """Copy files of each shape in each way, the ways taking turns."""
    found = []
    for shape, number, size in SHAPES:
        source = folder / "source"
        source.mkdir()
        for name in range(number):
            (source / f"{name:06}").write_bytes(os.urandom(size))
        os.sync()
        taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(runs):
            for way, copy in WAYS.items():
                taken[way].append(_timed(copy, source, folder / "target"))
        found += [
            Copying(
                shape=shape,
                way=way,
                files=number,
                bytes=number * size,
                seconds=statistics.median(wall for wall, _ in times),
                cpu_seconds=statistics.median(cpu for _, cpu in times),
            )
            for way, times in taken.items()
        ]
        shutil.rmtree(source)
    return found


def rows(copyings: Sequence[Copying]) -> list[tuple[str, ...]]:
    """Return a row of a table for each."""
    return [
        (
            one.shape,
            one.way,
            f"{one.files:,}",
            f"{one.bytes / MIB:,.0f}",
            f"{one.seconds:.2f}",
            f"{one.cpu_seconds:.2f}",
            f"{one.files / one.cpu_seconds:,.0f}",
            f"{one.bytes / MIB / one.cpu_seconds:,.0f}",
        )
        for one in copyings
    ]


NAMES = ("files", "way", "number", "MiB", "s", "CPU s", "files per CPU s", "MiB per CPU s")


def _timed(copy: Callable[[Path, Path], None], source: Path, target: Path) -> tuple[float, float]:
    target.mkdir()
    wall, cpu = time.monotonic(), time.process_time()
    copy(source, target)
    taken = time.monotonic() - wall, time.process_time() - cpu
    shutil.rmtree(target)
    os.sync()
    return taken


def _plain(source: Path, target: Path, *, durable: bool) -> None:
    """Read, hash with BLAKE3 and SHA-256, write: what no copy that is to be checked can do without."""
    for path in sorted(source.iterdir()):
        first, second = blake3(), hashlib.sha256()
        with path.open("rb", buffering=0) as file, (target / path.name).open("wb", buffering=0) as out:
            while block := file.read(BLOCK_BYTES):
                first.update(block)
                second.update(block)
                out.write(block)
            if durable:
                os.fsync(out.fileno())


def _store(source: Path, target: Path, *, workers: int) -> None:
    work = []
    for path in sorted(source.iterdir()):
        found = path.stat()
        seconds, nanoseconds = divmod(found.st_mtime_ns, 10**9)
        work.append(Work(0, found.st_ino, (os.fsencode(path.name),), found.st_size, seconds, nanoseconds, found.st_dev))
    copies = copy_all(
        work,
        TreeContents(bytes(source)),
        Store(target),
        run=1,
        tries=1,
        workers=workers,
        total=len(work),
        max_failed_share=1,
    )
    if any(copied.status is not CopyStatus.SUCCESS for copied in copies):
        raise AssertionError("not everything was copied")


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "plain": lambda source, target: _plain(source, target, durable=False),
    "plain, each file durable": lambda source, target: _plain(source, target, durable=True),
    "store, 1 thread": lambda source, target: _store(source, target, workers=1),
    "store, 2 threads": lambda source, target: _store(source, target, workers=2),
}
