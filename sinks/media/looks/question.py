"""What a look is asked, and what it answers."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from sinks.media.reading import read_medium
from tallystick.contracts.media import Medium
from tallystick.contracts.text import printable
from tallystick.database.engine import snapshot
from tallystick.errors import ContractError, StorageError
from tallystick.settings import Settings
from tallystick.storage.disk import open_for_reading, read_blocks, storage_errors

_NAMED = 5


class Interrupted(Exception):
    """Whoever asked wants no answer any more."""


class Question(msgspec.Struct, frozen=True):
    """Which claim is to be looked at: that of `run`, about `stage` of the `attempt` at `medium`.

    `progress` is called often, for whoever has to do something meanwhile; `interruption` is what it raises to end it.
    """

    settings: Settings
    engine: sa.Engine
    medium: str
    stage: str
    attempt: int
    run: int = 0
    progress: Callable[[], None] = lambda: None
    interruption: type[Exception] = Interrupted


class Look(msgspec.Struct, frozen=True):
    """What was found: counts under the names of the claim, those only that were counted; a digest; and in words."""

    found: dict[str, int]
    digest: str = ""
    detail: str = ""


class Troubles:
    """What is wrong with many things: how often, and the first few in words."""

    def __init__(self) -> None:
        self._count = 0
        self._named: list[str] = []

    def add(self, what: str) -> None:
        """Take one more."""
        self._count += 1
        if len(self._named) < _NAMED:
            self._named.append(printable(what))

    def __str__(self) -> str:
        """In words; empty where nothing is wrong."""
        more = self._count - len(self._named)
        return "; ".join([*self._named, *([f"and {more} more"] if more else [])])


def known_medium(question: Question) -> Medium:
    """Return the medium as the database knows it. Raises ContractError where it does not."""
    with snapshot(question.engine) as connection:
        medium = read_medium(connection, question.medium)
    if medium is None:
        raise ContractError(f"the database knows no medium {question.medium}: see whether the sink `media` runs")
    return medium


def hash_file(path: Path, question: Question) -> tuple[int, str]:
    """Return size and BLAKE3 of a file. Raises StorageError where it can't be read."""
    digest, size = blake3(), 0
    with storage_errors("read", path), open_for_reading(path) as opened:
        for block in read_blocks(opened):
            digest.update(block)
            size += len(block)
            question.progress()
    return size, digest.hexdigest()


def read_file(path: Path, *, most: int) -> bytes:
    """Return the content of a small file. Raises StorageError where it can't be read, or has more than `most` bytes."""
    content = b""
    with storage_errors("read", path), open_for_reading(path) as opened:
        for block in read_blocks(opened):
            content += block
            if len(content) > most:
                raise StorageError(f"{printable(str(path))} has more than {most} bytes, which is no file of its kind")
    return content
