"""What lies in the folders of archives and listings, and what of it no medium accounts for."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import sqlalchemy as sa

from sinks.media.audit.violations import Code, Mend, Violation
from sinks.schema import media
from tallystick.contracts.media import ARCHIVE_SUFFIX, LISTING_SUFFIX, archive_name, listing_name

_AT_ONCE = 500
_BUFFER = 1024 * 1024
_ID = re.compile(r"[0-9a-f]{32}")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Places(msgspec.Struct, frozen=True):
    """The folders that an audit looks at."""

    store: Path
    archives: Path
    listings: Path

    def archive_of(self, medium: str) -> str:
        """Return the path of a medium's archive, empty where there is none, or what is there is no zstd file."""
        path = self.archives / archive_name(medium)
        try:
            with path.open("rb") as file:
                return str(path) if file.read(4) == _ZSTD_MAGIC else ""
        except FileNotFoundError:
            return ""

    def listing_of(self, medium: str) -> str:
        """Return the path of a medium's listing, empty where there is none."""
        path = self.listings / listing_name(medium)
        return str(path) if path.is_file() else ""


def count_records(path: str) -> int:
    """Return how many records a listing holds: each ends with a NUL, whatever else is in it."""
    number = 0
    with Path(path).open("rb") as file:
        while part := file.read(_BUFFER):
            number += part.count(b"\0")
    return number


def unknown_files(connection: sa.Connection, places: Places) -> Iterator[Violation]:
    """Yield I1 for each archive, and I10 for each listing, whose name is the id of no medium in the database."""
    for path, _ in _unknown(connection, places.archives, ARCHIVE_SUFFIX):
        advice = "find out what it is an archive of, and ingest that"
        what = "an archive of a medium that the database does not know"
        yield Violation(Code.ARCHIVE_WITHOUT_COPY, what, path, Mend.PERSON, advice)
    for path, medium in _unknown(connection, places.listings, LISTING_SUFFIX):
        advice = f"tally media ingest {path}"
        yield Violation(
            Code.LISTING_WITHOUT_ROWS,
            f"a listing of {count_records(path):,} records, of a medium that the database does not know",
            path,
            Mend.INGEST,
            advice,
            medium=medium if _ID.fullmatch(medium) else "",
        )


def _unknown(connection: sa.Connection, folder: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """Yield path and name, without the suffix, of each file in `folder` that is of no medium."""
    batch: list[str] = []
    for name in _names(folder, suffix):
        batch.append(name)
        if len(batch) == _AT_ONCE:
            yield from _of_no_medium(connection, folder, suffix, batch)
            batch = []
    yield from _of_no_medium(connection, folder, suffix, batch)


def _of_no_medium(connection: sa.Connection, folder: Path, suffix: str, names: list[str]) -> Iterator[tuple[str, str]]:
    askable = [name for name in names if name.isascii() and "\0" not in name]
    known = set(connection.scalars(sa.select(media.c.medium).where(media.c.medium.in_(askable))))
    for name in names:
        if name not in known:
            yield str(folder / (name + suffix)), name


def _names(folder: Path, suffix: str) -> Iterator[str]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix) and entry.is_file():
                yield entry.name.removesuffix(suffix)
