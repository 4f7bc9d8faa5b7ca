"""Labels: `atproto.labels` into `atproto_labels`, what counts now, and `atproto_label_history`, all that was signed."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from sinks.atproto import rows
from sinks.atproto.words import decode_word
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import atproto
from tallystick.contracts.atproto import Label

_BY = ("revision", "neg", "sig")


class Told(msgspec.Struct, frozen=True, gc=False):
    """One label: its row of `LABELS`, and that of `HISTORY`."""

    row: Row
    as_told: Row


class Labels(Sink[Told]):
    """See Sink. The newest of a label counts; of two that were made at once a retraction, then the greater signature.

    So it is the same one in whichever order they come.
    """

    name = "atproto_labels"
    topic = atproto.LABELS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Told]:
        """See Sink."""
        return decode_word(record, atproto.decode_label, key=lambda found: found.uri, row=_told, what="a label")

    def write(self, connection: sa.Connection, entries: Sequence[Told]) -> bytes:
        """See Sink."""
        # In one order, so that two processes never wait for each other in a circle.
        newest = sorted(rows.greatest(rows.LABELS, (entry.row for entry in entries), _BY), key=lambda row: row[:4])
        self._writer.take_greatest(connection, rows.LABELS, newest, _BY)
        told = {entry.as_told[0]: entry.as_told for entry in entries}
        self._writer.add(connection, rows.HISTORY, [told[digest] for digest in sorted(told)])
        return bytes([INSERTED]) * len(entries)


def _told(found: Label) -> Told:
    return Told(rows.label(found), rows.label_as_told(found))
