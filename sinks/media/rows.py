"""From what is known of media to rows. Pure; the order of each tuple is that of the columns beside it.

Of every table the columns begin with its key, and then the revision.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from blake3 import blake3

from sinks import schema
from sinks.writers.base import Row
from sinks.writers.target import Target
from tallystick.contracts.media import Copied, CopyStatus, Found, Medium, Problem, Run
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import canonical
from tallystick.errors import ContractError

MEDIA = Target(
    table=schema.media,
    columns=(
        "medium",
        "revision",
        "form",
        "name",
        "root",
        "image",
        "map",
        "size",
        "digest",
        "model",
        "serial",
        "message",
        "acknowledged",
        "grows",
        "identified_at",
    ),
    key=("medium",),
)
INODES = Target(
    table=schema.media_inodes,
    columns=(
        "medium",
        "part",
        "ino",
        "revision",
        "dev",
        "type",
        "nlink",
        "size",
        "mtime",
        "mtime_ns",
        "allocated",
        "mode",
        "uid",
        "gid",
        "rdev",
        "marks",
    ),
    key=("medium", "part", "ino"),
)
PATHS = Target(
    table=schema.media_paths,
    columns=("medium", "part", "path_digest", "revision", "path", "ino", "target", "excluded"),
    key=("medium", "part", "path_digest"),
)
PROBLEMS = Target(
    table=schema.media_problems,
    columns=("medium", "position", "revision", "part", "ino", "path", "kind", "detail"),
    key=("medium", "position"),
)
COPIES = Target(
    table=schema.media_copies,
    columns=(
        "medium",
        "part",
        "ino",
        "revision",
        "status",
        "blobid",
        "sha256",
        "size",
        "mtime",
        "mtime_ns",
        "created",
        "error",
        "detail",
        "tries",
        "path",
        "copied_at",
    ),
    key=("medium", "part", "ino"),
)
BLOBS = Target(table=schema.media_blobs, columns=("blobid", "sha256", "size"), key=("blobid",))
RUNS = Target(
    table=schema.media_runs,
    columns=(
        "medium",
        "run",
        "revision",
        "stage",
        "attempt",
        "worker",
        "started_at",
        "ended_at",
        "seconds",
        "exit_code",
        "detail",
        "counts",
        "evidence",
    ),
    key=("medium", "run"),
)

_SMALL = 1 << 31
_LARGE = 1 << 63
_DIGEST_BYTES = 16
_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNKNOWN = -1
_to_json = msgspec.json.Encoder(order="deterministic").encode


def medium(found: Medium) -> Row:
    """Return the row of `MEDIA`. Raises ContractError where no database holds it."""
    _require(_LARGE, found.attempt, found.size)
    return (
        found.medium,
        found.attempt,
        found.form.value,
        printable(found.name),
        found.root,
        found.image,
        found.map,
        found.size,
        printable(found.digest),
        printable(found.model),
        printable(found.serial),
        printable(found.message),
        printable(found.acknowledged),
        found.grows,
        _moment(found.at),
    )


def inode(medium_: str, attempt: int, found: Found) -> Row:
    """Return the row of `INODES` of an entry that `require_storable` has let pass."""
    return (
        medium_,
        found.part,
        found.ino,
        attempt,
        found.dev,
        found.type,
        found.nlink,
        found.size,
        found.mtime,
        found.mtime_ns,
        *(None if value == _UNKNOWN else value for value in (found.allocated, found.mode, found.uid, found.gid)),
        found.rdev,
        json_text(found.marks),
    )


def path(medium_: str, attempt: int, found: Found) -> Row:
    """Return the row of `PATHS`."""
    return (
        medium_,
        found.part,
        path_digest(found.path),
        attempt,
        found.path,
        found.ino,
        found.target,
        printable(found.excluded),
    )


def path_digest(path_: bytes) -> bytes:
    """Return what stands for a path in the key of `media_paths`: no index of PostgreSQL holds every path itself."""
    return blake3(path_).digest(_DIGEST_BYTES)


def problem(medium_: str, attempt: int, position: int, found: Problem) -> Row:
    """Return the row of `PROBLEMS`."""
    return (
        medium_,
        position,
        attempt,
        found.part,
        found.ino,
        found.path,
        found.kind.value,
        printable(found.detail),
    )


def require_storable(entry: Found | Problem) -> None:
    """Raise ContractError where no database holds `entry`, or it can't be true."""
    _require(_SMALL, entry.part)
    match entry:
        case Found():
            _require(_LARGE, entry.ino, entry.dev, entry.nlink, entry.size, entry.mtime, entry.mtime_ns, entry.rdev)
            _require(_LARGE, entry.allocated, entry.mode, entry.uid, entry.gid)
            if len(entry.type) != 1 or not entry.type.isalpha() or not entry.type.isascii():
                raise ContractError(f"a type is one letter of `find -printf %y`, not {entry.type!r}")
            if not entry.path:
                raise ContractError("a path is empty; the root itself is '.'")
            if entry.size < 0:
                raise ContractError(f"a size is negative: {entry.size}")
        case Problem():
            _require(_LARGE, entry.ino)


def copy(medium_: str, found: Copied) -> Row:
    """Return the row of `COPIES`. Raises ContractError where no database holds it, or it contradicts itself."""
    _require(_SMALL, found.part, found.tries)
    _require(_LARGE, found.ino, found.run, found.size, found.mtime or 0, found.mtime_ns)
    success = found.status is CopyStatus.SUCCESS
    if success:
        _require_digests(found)
    elif found.blobid or found.sha256:
        raise ContractError(f"a copy is {found.status.value}, and yet names a content")
    return (
        medium_,
        found.part,
        found.ino,
        found.run,
        found.status.value,
        found.blobid if success else None,
        found.sha256 if success else None,
        found.size,
        found.mtime,
        found.mtime_ns,
        found.created,
        found.error.value if found.error else None,
        printable(found.detail),
        found.tries,
        found.path,
        _moment(found.at),
    )


def blob(copy_: Row) -> Row | None:
    """Return the row of `BLOBS` that follows from one of `COPIES`, None where it is no success."""
    fields = dict(zip(COPIES.columns, copy_, strict=True))
    return None if fields["blobid"] is None else tuple(fields[name] for name in BLOBS.columns)


def run(found: Run) -> Row:
    """Return the row of `RUNS`. Raises ContractError where no database holds it."""
    _require(_LARGE, found.run, found.attempt, *found.counts.values())
    _require(_SMALL, found.exit_code or 0)
    return (
        found.medium,
        found.run,
        1 if found.ended_at else 0,
        printable(found.stage),
        found.attempt,
        printable(found.worker),
        _moment(found.started_at),
        _moment(found.ended_at) if found.ended_at else None,
        found.seconds,
        found.exit_code,
        printable(found.detail),
        json_text(found.counts),
        json_text(found.evidence),
    )


def newest(target: Target, rows: Iterable[Row]) -> list[Row]:
    """Return of each key the row of the highest revision, the last of those that have it."""
    size = len(target.key)
    found: dict[Row, Row] = {}
    for row in rows:
        key = row[:size]
        if key not in found or found[key][size] <= row[size]:
            found[key] = row
    return list(found.values())


def json_text(value: Mapping[str, int | str] | Iterable[str]) -> str:
    """Return JSON that every database can hold: see `printable`."""
    return _to_json(_printable(value)).decode()


def _printable(value: Mapping[str, int | str] | Iterable[str]) -> Any:
    if isinstance(value, Mapping):
        return {printable(name): printable(item) if isinstance(item, str) else item for name, item in value.items()}
    return [printable(item) for item in value]


def _require(bound: int, *numbers: int) -> None:
    for number in numbers:
        if not -bound <= number < bound:
            raise ContractError(f"a number is larger than databases hold: {number}")


def _require_digests(found: Copied) -> None:
    for name, digest, needed in (("blobid", found.blobid, True), ("sha256", found.sha256, False)):
        if (digest or needed) and not _DIGEST.fullmatch(digest):
            raise ContractError(f"a copy is a success, and yet its {name} is {digest[:80]!r}")


def _moment(value: str) -> str:
    try:
        return canonical(value)
    except ValueError as error:
        raise ContractError(str(error)) from error
