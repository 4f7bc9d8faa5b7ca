"""What a medium's archive is made of: its image and what tells of it, or its listing where there is no image.

| medium        | members                                                                                    |
|---------------|--------------------------------------------------------------------------------------------|
| device, image | `<medium>.img`; `<medium>.map`, ddrescue's map; `<medium>-ddrescue.log`, what it had to say |
| tree, listing | `<medium>.raw`                                                                             |

Map and log are in it where they are there: `<image>-ddrescue.log`, never found by a pattern, so that nothing else that
lies beside them is taken for theirs. Members are named by the medium, so that its archive is the same whatever the name
of its image. A sidecar tells of one attempt, and is no part of the archive.
"""

import os
from pathlib import Path

from tallystick.contracts.media import RESCUE_LOG_SUFFIX, Form, Medium, archive_name, listing_name
from tallystick.storage.archives import Archive, Wanted, decode, read_member, write_archive
from tallystick.storage.disk import Progress, storage_errors, sync_folder, unheard


def archive_path(medium: str, *, archives: Path) -> Path:
    """Return where the archive of a medium lies."""
    return archives / archive_name(medium)


def wanted_of(medium: Medium, *, listings: Path) -> tuple[Wanted, ...]:
    """Return what belongs into the archive of a medium; all of it has to be there."""
    name = medium.medium
    if medium.form in (Form.TREE, Form.LISTING):
        return (Wanted(listing_name(name).encode(), listings / listing_name(name)),)
    log = log_beside(medium.image)
    return (
        Wanted(f"{name}.img".encode(), _path(medium.image), medium.digest),
        *((Wanted(f"{name}.map".encode(), _path(medium.map)),) if medium.map else ()),
        *((Wanted(f"{name}{RESCUE_LOG_SUFFIX}".encode(), _path(log)),) if os.path.lexists(log) else ()),
    )


def archive_medium(medium: Medium, *, listings: Path, archives: Path, progress: Progress = unheard) -> Archive:
    """Make the archive of a medium, or find that it is there and holds the same; see `write_archive` for errors.

    What is archived stays where it is. Of a folder or a listing, which may be another one than at the last attempt, an
    archive that is sound but holds something else is set aside as `<archive>.<digest>`.
    """
    final = archive_path(medium.medium, archives=archives)
    wanted = wanted_of(medium, listings=listings)
    if medium.form in (Form.TREE, Form.LISTING) and os.path.lexists(final):
        _set_aside(final, wanted, progress)
    return write_archive(final, wanted, progress=progress)


def _set_aside(final: Path, wanted: tuple[Wanted, ...], progress: Progress) -> None:
    archive = decode(final, progress=progress)
    if archive.members != tuple(read_member(one, progress=progress) for one in wanted):
        with storage_errors("rename", final):
            final.rename(final.with_name(f"{final.name}.{archive.digest[:16]}"))
            sync_folder(final.parent)


def archive_counts(archive: Archive) -> dict[str, int]:
    """Return the ARCHIVE_COUNTS of an archive."""
    return {
        "members": len(archive.members),
        "bytes": sum(member.size for member in archive.members),
        "archive_bytes": archive.size,
    }


def log_beside(image: bytes) -> bytes:
    """Return where the log of the rescue of an image lies, if there is one."""
    return os.fsencode(Path(os.fsdecode(image)).with_suffix("")) + RESCUE_LOG_SUFFIX.encode()


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))
