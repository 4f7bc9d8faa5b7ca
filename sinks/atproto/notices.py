"""What happened to the streams of hosts: `atproto.notices` into `atproto_notices`."""

from collections.abc import Sequence

import sqlalchemy as sa

from sinks.atproto import rows
from sinks.atproto.words import decode_word
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import atproto


class Notices(Sink[Row]):
    """See Sink. A notice that comes again is the same one."""

    name = "atproto_notices"
    topic = atproto.NOTICES

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        return decode_word(
            record, atproto.decode_notice, key=lambda found: found.host, row=rows.notice, what="a notice"
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        self._writer.add(connection, rows.NOTICES, sorted(set(entries)))
        return bytes([INSERTED]) * len(entries)
