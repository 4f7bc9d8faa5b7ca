"""How repositories stand: `atproto.repositories` into the columns of `atproto_repos` that tell of it."""

from collections.abc import Sequence

import sqlalchemy as sa

from sinks.atproto import heads, rows
from sinks.atproto.words import decode_word
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import atproto


class Repositories(Sink[Row]):
    """See Sink. The last word counts: the topic is the changelog of one agent, in its order."""

    name = "atproto_repositories"
    topic = atproto.REPOSITORIES

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        return decode_word(
            record,
            atproto.decode_repository,
            key=lambda found: found.did,
            row=rows.standing,
            what="the state of a repository",
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        last = {row[0]: row for row in entries}
        heads.lock(connection, self._writer, last.keys())
        heads.set_states(connection, self._writer, list(last.values()))
        return bytes([INSERTED]) * len(entries)
