"""What hosts say about accounts: `atproto.accounts` into `atproto_accounts`."""

from collections.abc import Sequence

import sqlalchemy as sa

from sinks.atproto import rows
from sinks.atproto.words import decode_word
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import atproto

_BY = ("revision", "seq")


class Accounts(Sink[Row]):
    """See Sink. Of each host its newest word on an account counts, by the host's time and then its numbers."""

    name = "atproto_accounts"
    topic = atproto.ACCOUNTS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        return decode_word(
            record,
            atproto.decode_account,
            key=lambda found: found.did,
            row=rows.account,
            what="the status of an account",
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        newest = sorted(rows.greatest(rows.ACCOUNTS, entries, _BY), key=lambda row: row[:2])
        self._writer.take_greatest(connection, rows.ACCOUNTS, newest, _BY)
        return bytes([INSERTED]) * len(entries)
