"""What could not be taken as an event: `dead.letters` into `dead_letter_events`. Counts what producers refused."""

from collections.abc import Sequence

import msgspec
import orjson
import sqlalchemy as sa

from sinks import schema
from sinks.counting import MAX_POSITION
from sinks.resolving import mark_awaited
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Cell, Writer
from sinks.writers.target import Target
from tallystick.contracts import dead_letters
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import canonical, now
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.errors import ContractError
from tallystick.kafka.consuming import PROMPT

KEY = ("source_id", "source_offset", "origin", "piece", "topic", "partition", "digest")
TARGET = Target(
    table=schema.dead_letter_events,
    columns=(*KEY, "last", "record_key", "reason", "payload", "metadata_json", "created_at"),
    key=KEY,
)
Row = tuple[Cell, ...]

_LONGEST_NAME = 255


class DeadLetters(Sink[Row]):
    """See Sink. A letter of a producer counts once, by its position; letters of others are stored without counting.

    Two letters of one position differ in their bytes: half a line, and the whole of it. Both are stored.
    """

    name = "dead_letters"
    topic = DEAD_LETTERS
    fetching = PROMPT

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        if record.value is None:
            raise ContractError("not a dead letter: it has no value")
        try:
            letter = dead_letters.decode(record.value)
        except msgspec.DecodeError as error:
            raise ContractError(f"not a dead letter: {error}") from error
        if max(len(letter.source), len(letter.origin), len(letter.topic)) > _LONGEST_NAME:
            raise ContractError(f"not a dead letter: a name is longer than {_LONGEST_NAME} characters")
        if not 0 <= letter.position < MAX_POSITION:
            raise ContractError(f"not a dead letter: its position is {letter.position}")
        try:
            at = canonical(letter.at or now())
        except ValueError as error:
            raise ContractError(f"not a dead letter: {error}") from error
        claimed = letter.origin == dead_letters.READ and letter.source != ""
        return Decoded(
            entries=(self._row(letter, at),),
            contents=(record.value,),
            source=letter.source,
            low=letter.position,
            positions=(letter.position,) if claimed and letter.piece == 0 else (),
            passes=(letter.source,) if claimed else (),
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        return self._writer.insert_new(connection, TARGET, entries)

    def conclude(
        self,
        connection: sa.Connection,
        records: Sequence[Record],  # noqa: ARG002 - see Sink
        decoded: Sequence[Decoded[Row]],
        fates: bytes,  # noqa: ARG002 - see Sink
    ) -> None:
        """See Sink: a letter may have been answered before it came."""
        mark_awaited(connection, {printable(found.source) for found in decoded})

    def _row(self, letter: DeadLetter, at: str) -> Row:
        writer, text = self._writer, self._writer.text
        more = {"detail": printable(letter.detail), "offset": letter.offset, "sensor": printable(letter.sensor)}
        return (
            text(printable(letter.source).encode()),
            writer.number(letter.position),
            text(printable(letter.origin).encode()),
            writer.small(letter.piece),
            text(printable(letter.topic).encode()),
            writer.small(letter.partition),
            writer.number(dead_letters.payload_digest(letter.payload)),
            writer.flag(letter.last),
            text(printable(letter.key).encode()),
            text(printable(letter.reason).encode()),
            writer.binary(letter.payload),
            writer.json(orjson.dumps(more)),
            writer.moment(at),
        )
