"""What an audit finds: violations, each by its code, and the class of every medium. Pure."""

from enum import StrEnum

import msgspec


class Code(StrEnum):
    """The twelve invariants, by what is wrong where they don't hold."""

    ARCHIVE_WITHOUT_COPY = "I1"
    COPIED_BEFORE_LOADED = "I2"
    STAGES_OUT_OF_ORDER = "I3"
    ROWS_DIFFER = "I4"
    COPY_WITHOUT_BLOB = "I5"
    BLOB_WITHOUT_FILE = "I6"
    FILE_DIFFERS = "I7"
    FILE_WITHOUT_BLOB = "I8"
    PENDING_FILES = "I9"
    LISTING_WITHOUT_ROWS = "I10"
    CONTENT_GONE = "I11"
    LOG_DISAGREES = "I12"


MEANINGS = {
    Code.ARCHIVE_WITHOUT_COPY: "there is an archive, but no verified copy",
    Code.COPIED_BEFORE_LOADED: "copied, but not loaded",
    Code.STAGES_OUT_OF_ORDER: "loaded, copied and archived in another order than that",
    Code.ROWS_DIFFER: "loaded, but the paths in the database are not as many as were enumerated",
    Code.COPY_WITHOUT_BLOB: "files are copied into blobs that the database does not know",
    Code.BLOB_WITHOUT_FILE: "the database knows a blob, but the store has no such file",
    Code.FILE_DIFFERS: "a file of the store has another size or digest than its name says",
    Code.FILE_WITHOUT_BLOB: "the store has a file that the database knows nothing of",
    Code.PENDING_FILES: "copied, but there are files of which nothing says what became of them",
    Code.LISTING_WITHOUT_ROWS: "there is a listing, but no medium, or none of its files, in the database",
    Code.CONTENT_GONE: "the image is gone and there is no verified archive, or the archive is gone",
    Code.LOG_DISAGREES: "the database and the log disagree on what has succeeded",
}
"""Each code in a sentence."""


class Mend(StrEnum):
    """What mends a violation."""

    INGEST = "ingest"
    """A new attempt at the whole medium."""
    HEAL = "heal"
    """The one content is copied once more, from any medium that has it."""
    PERSON = "person"
    """Somebody has to decide."""


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One invariant that does not hold in one place. `medium` or `blob` is what it is about; either may be empty.

    `where` is a path, a table or a topic; it may hold anything that a file name may, so escape it where it is shown.
    `advice` says what to do, in a sentence.
    """

    code: Code
    what: str
    where: str
    mend: Mend
    advice: str
    medium: str = ""
    blob: str = ""


class MediumClass(StrEnum):
    """How a medium stands, by the classes of the audit that found the bug which this project began with."""

    TIMESTAMPS_ONLY = "TIMESTAMPS_ONLY"
    """All files are in the store, only nobody has said so: a verdict is missing."""
    FILES_MISSING_BLOBS = "FILES_MISSING_BLOBS"
    """Files are not in the store, and nobody has accepted that."""
    NO_INODES = "NO_INODES"
    """The database knows of no file."""
    NOT_ARCHIVED = "NOT_ARCHIVED"
    """Loaded and copied, but there is no verified archive."""
    COMPLETE = "COMPLETE"


class Judged(msgspec.Struct, frozen=True):
    """One medium that was looked at. `working` says that somebody is at work on it: it may soon stand better."""

    medium: str
    name: str
    form: str
    standing: MediumClass
    working: bool
    imported: bool


Finding = Violation | Judged
"""What an audit yields, as it goes."""


def again(medium: str) -> str:
    """Return the advice to ingest a medium once more."""
    return f"tally media repair {medium}"
