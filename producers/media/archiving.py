"""What a medium's archive is made of: its image and what tells of it, or its listing where there is no image.

| medium        | members                                                                              |
|---------------|--------------------------------------------------------------------------------------|
| device, image | the image; ddrescue's map, if it has one; `<image>-ddrescue.log`, if that lies there |
| tree, listing | `<medium>.raw`, `<medium>.raw.json`                                                  |

Each is named exactly, never by a pattern, so that nothing else that lies beside them is taken for theirs.
"""

import os
from pathlib import Path

from tallystick.contracts.media import Form, Medium
from tallystick.storage.archives import Archive, Wanted, write_archive
from tallystick.storage.disk import Progress, unheard

LOG_SUFFIX = b"-ddrescue.log"


def archive_path(medium: str, *, archives: Path) -> Path:
    """Return where the archive of a medium lies."""
    return archives / f"{medium}.tar.zst"


def wanted_of(medium: Medium, *, listings: Path) -> tuple[Wanted, ...]:
    """Return what belongs into the archive of a medium; all of it has to be there."""
    if medium.form in (Form.TREE, Form.LISTING):
        raw = listings / f"{medium.medium}.raw"
        return tuple(Wanted(os.fsencode(path.name), path) for path in (raw, raw.with_name(f"{raw.name}.json")))
    log = log_beside(medium.image)
    return (
        _wanted(medium.image, digest=medium.digest),
        *((_wanted(medium.map),) if medium.map else ()),
        *((_wanted(log),) if os.path.lexists(log) else ()),
    )


def archive_medium(medium: Medium, *, listings: Path, archives: Path, progress: Progress = unheard) -> Archive:
    """Make the archive of a medium, or find that it is there and holds the same; see `write_archive` for errors.

    What is archived stays where it is.
    """
    final = archive_path(medium.medium, archives=archives)
    return write_archive(final, wanted_of(medium, listings=listings), progress=progress)


def archive_counts(archive: Archive) -> dict[str, int]:
    """Return the ARCHIVE_COUNTS of an archive."""
    return {
        "members": len(archive.members),
        "bytes": sum(member.size for member in archive.members),
        "archive_bytes": archive.size,
    }


def log_beside(image: bytes) -> bytes:
    """Return where the log of the rescue of an image lies, if there is one."""
    return os.fsencode(Path(os.fsdecode(image)).with_suffix("")) + LOG_SUFFIX


def _wanted(path: bytes, *, digest: str = "") -> Wanted:
    found = Path(os.fsdecode(path))
    return Wanted(os.fsencode(found.name), found, digest)
