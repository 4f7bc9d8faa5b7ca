"""The archive of a medium: decoded to its end, and its members compared with what lies outside of it."""

import os
from pathlib import Path

import msgspec

from sinks.looking import Look, Question, Troubles
from sinks.media.looks.enumerated import listing_of
from sinks.media.looks.imaged import image_of, map_of
from sinks.media.looks.reading import hash_file, known_medium
from tallystick.contracts.media import ARCHIVE_COUNTS, RESCUE_LOG_SUFFIX, Form, Medium, archive_name, listing_name
from tallystick.storage.archives import Member, decode
from tallystick.storage.disk import Progress


class Wanted(msgspec.Struct, frozen=True):
    """A file that must be in the archive, as `name`; `digest` is its BLAKE3, where it is known before."""

    name: str
    path: Path
    digest: str = ""


def look_at_archive(question: Question) -> Look:
    """Return the ARCHIVE_COUNTS, and the BLAKE3 of the archive.

    Raises StorageError, DamagedArchiveError.
    """
    medium = known_medium(question)
    progress: Progress = question.progress
    archive = decode(question.settings.media_archives / archive_name(question.source), progress=progress)
    if troubles := _compare({member.name: member for member in archive.members}, medium, question):
        return Look({}, archive.digest, troubles)
    numbers = (len(archive.members), sum(member.size for member in archive.members), archive.size)
    return Look(dict(zip(ARCHIVE_COUNTS, numbers, strict=True)), archive.digest)


def _compare(members: dict[bytes, Member], medium: Medium, question: Question) -> str:
    """Return what is wrong with the members; empty where they are what they must be."""
    troubles = Troubles()
    wanted = {found.name.encode(): found for found in _wanted(medium, question)}
    for name in sorted(members.keys() - wanted.keys()):
        troubles.add(f"the archive holds {os.fsdecode(name)}, which is none of this medium's")
    for name, found in sorted(wanted.items()):
        member = members.get(name)
        if member is None:
            troubles.add(f"the archive lacks {found.path}")
        elif member.digest != (digest := found.digest or hash_file(found.path, question)[1]):
            troubles.add(f"{os.fsdecode(name)} is {member.digest} in the archive, and must be {digest}")
    return str(troubles)


def _wanted(medium: Medium, question: Question) -> tuple[Wanted, ...]:
    """Return what must be in the archive: the image and what tells of it, else the listing."""
    settings, name = question.settings, medium.medium
    if medium.form in (Form.TREE, Form.LISTING):
        return (Wanted(listing_name(name), listing_of(name, settings.media_listings)),)
    image = image_of(medium, settings)
    log = image.with_name(f"{image.with_suffix('').name}{RESCUE_LOG_SUFFIX}")
    has_map = bool(medium.map) or medium.form is Form.DEVICE
    return (
        Wanted(f"{name}.img", image, medium.digest),
        *((Wanted(f"{name}.map", map_of(medium, settings)),) if has_map else ()),
        *((Wanted(f"{name}{RESCUE_LOG_SUFFIX}", log),) if os.path.lexists(log) else ()),
    )
