"""What enumerations found: `media.inodes` into `media_inodes`, `media_paths` and `media_problems`."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from sinks.counting import INSERTED
from sinks.media import rows
from sinks.media.lines import Place, decode_lines
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from sinks.writers.target import Target
from tallystick.contracts import media
from tallystick.contracts.media import Entry, Found, Problem


class Line(msgspec.Struct, frozen=True, gc=False):
    """An entry, and where it stands."""

    place: Place
    entry: Entry


class Inodes(Sink[Line]):
    """See Sink. Rows move forward by attempt; of one attempt, the last word counts."""

    name = "media_inodes"
    topic = media.INODES

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Line]:
        """See Sink."""
        return decode_lines(record, _read)

    def write(self, connection: sa.Connection, entries: Sequence[Line]) -> bytes:
        """See Sink."""
        for target, found in _rows(entries):
            if found:
                self._writer.take_latest(connection, target, rows.newest(target, found))
        return bytes([INSERTED]) * len(entries)


def _read(place: Place, line: bytes) -> Line:
    entry = media.decode_entry(line)
    rows.require_storable(entry)
    return Line(place, entry)


def _rows(lines: Sequence[Line]) -> list[tuple[Target, list[Row]]]:
    inodes, paths, problems = [], [], []
    for line in lines:
        place = line.place
        match line.entry:
            case Found() as found:
                inodes.append(rows.inode(place.medium, place.attempt, found))
                paths.append(rows.path(place.medium, place.attempt, found))
            case Problem() as problem:
                problems.append(rows.problem(place.medium, place.attempt, place.position, problem))
    return [(rows.INODES, inodes), (rows.PATHS, paths), (rows.PROBLEMS, problems)]
