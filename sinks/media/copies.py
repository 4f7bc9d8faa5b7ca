"""What became of files: `media.blobs` into `media_copies` and `media_blobs`."""

from collections.abc import Sequence

import sqlalchemy as sa

from sinks.counting import INSERTED
from sinks.media import rows
from sinks.media.lines import Place, decode_lines
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import media


class Copies(Sink[Row]):
    """See Sink. A copy moves forward by run; of one run, the last word counts. Contents are only ever added."""

    name = "media_copies"
    topic = media.BLOBS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        return decode_lines(record, _read)

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        self._writer.take_latest(connection, rows.COPIES, rows.newest(rows.COPIES, entries))
        # In one order, so that two processes that add the same contents don't wait for each other in a circle.
        if contents := sorted({found for entry in entries if (found := rows.blob(entry)) is not None}):
            self._writer.add(connection, rows.BLOBS, contents)
        return bytes([INSERTED]) * len(entries)


def _read(place: Place, line: bytes) -> Row:
    return rows.copy(place.medium, media.decode_copied(line))
