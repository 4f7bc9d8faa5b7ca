"""From what ntt knows of a file to what is sent of it. Pure."""

import re

from producers.media.ntt.database import NttPath
from tallystick.contracts.media import Copied, CopyError, CopyStatus, Found, Problem, ProblemKind
from tallystick.contracts.text import printable

BEFORE_ALL = 0
"""Attempt and run of what was imported: whatever is done here counts for more."""

_BLOBID = re.compile(r"[0-9a-f]{64}")
_TYPES = frozenset("fdlbcps")
_GAVE_UP = "MAX_RETRIES_EXCEEDED"
_EXCLUDED = "EXCLUDED"
_FAILED = frozenset({CopyStatus.RETRYABLE.value, CopyStatus.PERMANENT.value})
_ERRORS = {error.value: error for error in CopyError}


def entry(row: NttPath, *, root: bytes, part: int) -> Found | Problem:
    """Return what was found under one path, below `root`; a problem where ntt knows only one half of it.

    A file whose type ntt does not know counts as regular, so that it is missed rather than passed over.
    """
    if row.path is None:
        return Problem(part, ProblemKind.INODE_UNREACHABLE, "ntt has the inode, but no path to it", ino=row.ino)
    path = below(row.path, root=root)
    if row.size is None:
        detail = "ntt has the path, but not its inode, or not the size of that"
        return Problem(part, ProblemKind.ATTRIBUTES_UNREADABLE, detail, path=path, ino=row.ino)
    return Found(
        part=part,
        ino=row.ino,
        type=row.type if row.type in _TYPES else "f",
        nlink=1 if row.nlink is None else row.nlink,
        size=row.size,
        mtime=row.mtime or 0,
        path=path,
        dev=row.dev,
        excluded=_excluded(row),
    )


def below(path: bytes, *, root: bytes) -> bytes:
    """Return an absolute path as one below `root`, which itself is `.`; a path elsewhere loses its slashes only."""
    if root and (path == root or path.startswith(root + b"/")):
        path = path[len(root) :]
    return path.strip(b"/") or b"."


def copied(found: Found, row: NttPath, *, stored: int | None, at: str) -> Copied | None:
    """Return what became of a regular file, by ntt's word; None where nothing is known that could be believed.

    `stored` is the size of what lies in the store under ntt's blobid, None where there is nothing: ntt's word that it
    copied the file is only repeated where that is the size of the file.
    """

    def told(status: CopyStatus, *, blobid: str = "", error: CopyError | None = None, detail: str = "") -> Copied:
        size = found.size if blobid else 0
        return Copied(
            found.part, found.ino, BEFORE_ALL, status, at, found.path, blobid, size=size, error=error, detail=detail
        )

    if row.blobid and not is_blobid(row.blobid):
        detail = printable(f"ntt's blobid is malformed: {row.blobid[:80]!r}")
        return told(CopyStatus.PERMANENT, error=CopyError.HASH, detail=detail)
    if row.blobid:
        return told(CopyStatus.SUCCESS, blobid=row.blobid) if stored == found.size else None
    if row.status in _FAILED or row.claimed_by == _GAVE_UP:
        status = CopyStatus(row.status) if row.status in _FAILED else CopyStatus.PERMANENT
        return told(status, error=_ERRORS.get(row.error.partition(":")[0], CopyError.UNKNOWN), detail=row.error)
    return None


def is_blobid(text: str) -> bool:
    """Return whether `text` can be the id of a blob."""
    return _BLOBID.fullmatch(text) is not None


def _excluded(row: NttPath) -> str:
    if row.excluded:
        return f"ntt:{row.excluded}"
    return f"ntt:{row.claimed_by}" if row.claimed_by.startswith(_EXCLUDED) else ""
