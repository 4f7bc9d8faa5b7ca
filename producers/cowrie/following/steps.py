"""What is to be done with a followed source, told from how it stands: a pure decision, to be read as a table."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from producers.cowrie.following.names import is_archive

FileId = tuple[int, int]
"""Device and inode: the same for a file that is renamed."""


class Stamp(msgspec.Struct, frozen=True):
    """What tells that a file has changed. `modified` is in nanoseconds since 1970, by the clock of the file system."""

    file: FileId
    size: int
    modified: int


class Step(StrEnum):
    """What follows."""

    WAIT = "wait"
    """It is live, or was changed just now, or the file system doesn't tell."""
    CONCLUDE = "conclude"
    """It is complete: its last line is sent, and it is claimed."""
    HAND_OVER = "hand over"
    """Another file has the same content: go on there, without a claim."""


class Standing(msgspec.Struct, frozen=True):
    """How a source stands whose file has been read to its present end.

    `archive`: its file is named as one that is complete. `lost`: its file is not there any more, or holds something
    else. `away`: the file system, or the folder, is not there. `quiet`: nothing has changed for long enough. `copies`:
    other files have been recognised as the same source. `unrecognised`: files beside it may turn out to be copies.
    """

    archive: bool = False
    lost: bool = False
    away: bool = False
    quiet: bool = False
    copies: bool = False
    unrecognised: bool = False


def next_step(standing: Standing) -> Step:
    """Return what is to be done."""
    if standing.away or not standing.quiet or not (standing.lost or standing.archive):
        return Step.WAIT
    if not standing.lost:
        return Step.CONCLUDE
    if standing.copies:
        return Step.HAND_OVER
    return Step.WAIT if standing.unrecognised else Step.CONCLUDE


def whereabouts(file: FileId, path: str, stamps: Mapping[str, Stamp]) -> tuple[str, Stamp] | None:
    """Return where `file`, last known as `path`, is now: at the same path, else at the first other one."""
    at = stamps.get(path)
    if at is not None and at.file == file:
        return path, at
    return next(((other, found) for other, found in sorted(stamps.items()) if found.file == file), None)


def in_order(paths: Iterable[str]) -> list[str]:
    """Return the order in which new files are taken: live ones first, since somebody waits for what they say."""
    return sorted(paths, key=lambda path: (is_archive(path), path))
