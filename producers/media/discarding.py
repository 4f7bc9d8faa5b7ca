"""Removing an image that an archive holds: only what is in the archive, byte for byte, and only by its exact path."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from producers.media.archiving import archive_path, wanted_of
from producers.media.errors import MediaError
from tallystick.contracts.media import ExitCode, Form, Medium
from tallystick.contracts.text import printable
from tallystick.storage.archives import Archive, Wanted, decode, read_member
from tallystick.storage.disk import storage_errors, sync_folder


class UnarchivedError(MediaError):
    """What is to be removed is not what the archive holds."""

    exit_code = ExitCode.UNVERIFIED


class Discardable(msgspec.Struct, frozen=True):
    """A file that an archive was found to hold: its path, its size in bytes, its BLAKE3."""

    path: Path
    size: int
    digest: str


def discardable(medium: Medium, *, listings: Path, archives: Path) -> list[Discardable]:
    """Return the files of a medium's image that its archive holds as they are; reads all of both.

    Raises UnarchivedError where one of them is not in the archive, or another one there; DamagedArchiveError,
    StorageError where the archive or a file can't be read.
    """
    if medium.form not in (Form.DEVICE, Form.IMAGE):
        raise UnarchivedError("no_image", f"medium {medium.medium} is a {medium.form}, which has no image to remove")
    archive = decode(archive_path(medium.medium, archives=archives))
    there = [wanted for wanted in wanted_of(medium, listings=listings) if os.path.lexists(wanted.path)]
    return list(_compared(archive, there))


def _compared(archive: Archive, there: list[Wanted]) -> Iterator[Discardable]:
    held = {member.name: member for member in archive.members}
    for wanted in there:
        found = read_member(wanted)
        if held.get(found.name) != found:
            raise UnarchivedError(
                "not_as_archived",
                f"{printable(str(wanted.path))} is not what the archive holds: nothing is removed; see which of them is"
                " right",
            )
        yield Discardable(wanted.path, found.size, found.digest)


def remove(files: list[Discardable]) -> None:
    """Remove files, the largest last, durably; one that is gone already is no error. Raises StorageError."""
    for file in sorted(files, key=lambda found: found.size):
        with storage_errors("remove", file.path):
            file.path.unlink(missing_ok=True)
            sync_folder(file.path.parent)
