"""A repository's CAR, from its host into a file: bounded in bytes and seconds, and never slower than is worth it."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import aiohttp
import msgspec

from producers.atproto.http import Refused, Transient, Web
from producers.atproto.protocol.car import Bytes
from tallystick.errors import NoSpaceError, StorageError

GET_REPO = "/xrpc/com.atproto.sync.getRepo"


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one download: bytes and seconds in all, and bytes a second that any `window` seconds must have."""

    max_bytes: int
    seconds: float
    slowest: int
    window: float = 30.0


@contextmanager
def scratch(folder: Path) -> Iterator[IO[bytes]]:
    """Give an empty file in `folder` that has no name, so that nothing is left of it however this process ends.

    Raises StorageError.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(TemporaryFile(dir=folder))
        except OSError as error:
            raise StorageError(f"{folder} takes no file: {error}; set TALLY_HOME to a folder of yours") from error
        yield file


@contextmanager
def mapped(file: IO[bytes], size: int) -> Iterator[Bytes]:
    """Give the content of a file, which stays on the disk until it is looked at."""
    if not size:
        yield b""
        return
    with mmap(file.fileno(), size, access=ACCESS_READ) as data:
        yield data


async def download(web: Web, url: str, params: Mapping[str, str], file: IO[bytes], limits: Limits) -> int:
    """Write the answer to `file` and return its size in bytes.

    Raises Transient where it breaks off, takes too long or is too slow, Refused where it is too large or the host says
    no, NoSpaceError and StorageError where the disk does.
    """
    clock = asyncio.get_running_loop().time
    async with web.open(url, params) as response:
        began = window_began = clock()
        size, in_window = response.content_length or 0, 0
        if size > limits.max_bytes:
            raise Refused(f"{url}: {size} bytes, {limits.max_bytes} may be", status=200)
        size = 0
        while True:
            ends = min(began + limits.seconds, window_began + limits.window)
            part = await _part(response.content, ends)
            if part == b"":
                break
            if part is not None:
                size, in_window = size + len(part), in_window + len(part)
                if size > limits.max_bytes:
                    raise Refused(f"{url}: more than {limits.max_bytes} bytes", status=200)
                _write(file, part)
            if clock() >= began + limits.seconds:
                raise Transient(f"{url}: not whole within {limits.seconds:g} s, {size} bytes came")
            if clock() >= window_began + limits.window:
                if in_window < limits.slowest * limits.window:
                    raise Transient(f"{url}: too slow, {in_window} bytes in {limits.window:g} s, {size} in all")
                window_began, in_window = clock(), 0
    _flush(file)
    return size


async def _part(content: aiohttp.StreamReader, ends: float) -> bytes | None:
    """Return what has come, b"" at the end, None where nothing did until the time `ends`."""
    try:
        async with asyncio.timeout_at(ends):
            return await content.readany()
    except TimeoutError:
        return None


def _write(file: IO[bytes], part: bytes) -> None:
    try:
        file.write(part)
    except OSError as error:
        raise NoSpaceError(f"a repository can't be kept on the disk while it is read: {error}") from error


def _flush(file: IO[bytes]) -> None:
    try:
        file.flush()
    except OSError as error:
        raise NoSpaceError(f"a repository can't be kept on the disk while it is read: {error}") from error
