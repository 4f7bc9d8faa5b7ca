"""Media as they were identified: `media.media` into `media`."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from sinks.counting import INSERTED
from sinks.media import rows
from sinks.media.lines import require_medium
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import media
from tallystick.errors import ContractError


class Media(Sink[Row]):
    """See Sink. A medium moves forward by attempt; of one attempt, the last word counts."""

    name = "media"
    topic = media.MEDIA

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        try:
            found = media.decode_medium(record.value or b"")
        except msgspec.DecodeError as error:
            raise ContractError(f"not a medium: {error}") from error
        require_medium(found.medium, record.key)
        return Decoded(
            entries=(rows.medium(found),),
            contents=(record.value or b"",),
            source=found.medium,
            passes=(found.medium,),
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        self._writer.take_latest(connection, rows.MEDIA, rows.newest(rows.MEDIA, entries))
        return bytes([INSERTED]) * len(entries)
