"""Who worked on media: `media.runs` into `media_runs`."""

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


class Runs(Sink[Row]):
    """See Sink. What is said of a run at its end counts for more than what was said at its beginning."""

    name = "media_runs"
    topic = media.RUNS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        try:
            found = media.decode_run(record.value or b"")
        except msgspec.DecodeError as error:
            raise ContractError(f"not a run: {error}") from error
        require_medium(found.medium, record.key)
        return Decoded(
            entries=(rows.run(found),), contents=(record.value or b"",), source=found.medium, passes=(found.medium,)
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        self._writer.take_latest(connection, rows.RUNS, rows.newest(rows.RUNS, entries))
        return bytes([INSERTED]) * len(entries)
