"""That identities changed: `atproto.identities` into `atproto_identities`."""

from collections.abc import Sequence

import sqlalchemy as sa

from sinks.atproto import rows
from sinks.atproto.words import decode_word
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import atproto

_BY = ("revision", "seq")


class Identities(Sink[Row]):
    """See Sink. The newest word counts, by its host's time and then its numbers."""

    name = "atproto_identities"
    topic = atproto.IDENTITIES

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        return decode_word(
            record, atproto.decode_identity, key=lambda found: found.did, row=rows.identity, what="an identity"
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        newest = sorted(rows.greatest(rows.IDENTITIES, entries, _BY), key=lambda row: row[:1])
        self._writer.take_greatest(connection, rows.IDENTITIES, newest, _BY)
        return bytes([INSERTED]) * len(entries)
