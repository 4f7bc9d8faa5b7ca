"""Every event, as it was read: `cowrie.events` into `raw_events`. The hot path: each line is looked at once."""

import functools
import json
import re
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import msgspec
import sqlalchemy as sa

from sinks import schema
from sinks.counting import require_countable
from sinks.event_risk import with_text
from sinks.resolving import answers, mark_answered
from sinks.sink import Decoded, Record, Refusal, Sink
from sinks.writers.base import Cell, Writer
from sinks.writers.target import Target
from tallystick.contracts import cowrie, risk, slices
from tallystick.contracts.cowrie import UnreadableLine
from tallystick.contracts.text import printable
from tallystick.errors import ContractError

TARGET = Target(
    table=schema.raw_events,
    columns=(
        "sensor",
        "session_id",
        "source_id",
        "event_type",
        "risk_score",
        "raw",
        "digest",
        "source_offset",
        "event_timestamp",
        "payload",
    ),
    key=("sensor", "session_id", "digest"),
    own=("source_id", "source_offset"),
)
Row = tuple[Cell, ...]

_SUSPECT = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|NaN|Infinity")


class RawEvents(Sink[Row]):
    """See Sink. Counts every event by its position, and the key of a record says to which session it belongs."""

    name = "raw_events"
    topic = cowrie.EVENTS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._name = functools.lru_cache(maxsize=4_096)(lambda name: writer.text(name.encode()))
        self._scores = [writer.small(points) for points in range(risk.MAX_POINTS + 1)]
        self._kind = functools.lru_cache(maxsize=4_096)(self._read_kind)

    def decode(self, record: Record) -> Decoded[Row]:
        """See Sink."""
        slice_ = slices.decode(record.value, record.headers)
        require_countable(slice_)
        try:
            sensor, session = cowrie.read_session_key(record.key)
        except msgspec.DecodeError as error:
            raise ContractError(f"not the key of a session: {record.key[:200]!r}") from error
        value = record.value or b""
        common = self._writer.common(list(map(self._name, (sensor, session, slice_.source))))
        make_row, digest_of, null = self._writer.event_row, cowrie.packed_digest, self._writer.null
        usual, scores = cowrie.read_envelopes(slice_.events, sensor), self._scores
        faithful = usual is not None and has_plain_text(value)
        rows, refused = [], []
        for position, line, known in zip(slice_.positions, slice_.events, usual or repeat(None), strict=False):
            try:
                envelope = known or cowrie.read_envelope(line, sensor, slice_.zone)
                kind, score, points = self._kind(envelope.eventid)
                payload, raw = (line, null) if faithful else self._faithful(line)
            except UnreadableLine as error:
                refused.append(Refusal(position, line, error.reason, error.detail))
                continue
            if points is not None:
                score = scores[with_text(points, envelope.input)]
            rows.append(make_row(common, kind, score, raw, digest_of(line), position, envelope.timestamp, payload))
        kept = _without(slice_, refused) if refused else (slice_.positions, slice_.events)
        return Decoded(
            entries=rows,
            contents=kept[1],
            source=slice_.source,
            low=slice_.low,
            positions=kept[0],
            refused=refused,
            passes=(slice_.source,),
        )

    def write(self, connection: sa.Connection, entries: Sequence[Row]) -> bytes:
        """See Sink."""
        return self._writer.insert_new(connection, TARGET, entries)

    def conclude(
        self, connection: sa.Connection, records: Sequence[Record], decoded: Sequence[Decoded[Row]], fates: bytes
    ) -> None:
        """See Sink: what was a dead letter, and is an event now, is resolved."""
        mark_answered(connection, list(answers(records, decoded, fates)))

    def _read_kind(self, eventid: str) -> tuple[Cell, Cell, int | None]:
        """Return the cells of a kind and of its score, and that score where the text of a command may be worth more."""
        points = risk.of_kind(eventid)
        kind, score = self._writer.text(eventid.encode()), self._scores[points]
        return kind, score, points if risk.is_command(eventid) else None

    def _faithful(self, line: bytes) -> tuple[bytes, Cell]:
        payload = storable(line)
        return payload, self._writer.null if payload is line else self._writer.binary(line)


def is_plain(value: bytes) -> bool:
    """Return whether all lines of `value` can be stored as they are, as far as a quick look tells."""
    return has_plain_text(value) and b"NaN" not in value and b"Infinity" not in value


def has_plain_text(value: bytes) -> bool:
    """Return whether all text in `value` can be stored as it is, as far as a quick look tells."""
    return value.isascii() and not (b"\\" in value and b"\\u" in value)


def storable(line: bytes) -> bytes:
    r"""Return `line` itself where every database can hold it as JSON, else JSON that shows what it can't hold.

    NUL, lone surrogates and bytes that are no UTF-8 become visible escapes (`contracts/text.py`); NaN and the
    infinities become text. Raises UnreadableLine where the line is no JSON object.
    """
    if is_plain(line) or (_is_utf8(line) and not _SUSPECT.search(line)):
        return line
    fields = cowrie.parse_tolerantly(line)
    shown = _show(fields)
    return line if shown == fields and _is_utf8(line) else json.dumps(shown, ensure_ascii=False).encode()


def _show(value: Any) -> Any:
    match value:
        case str():
            return printable(value)
        case float() if value != value or value in (float("inf"), float("-inf")):
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {printable(name): _show(item) for name, item in value.items()}
        case list():
            return [_show(item) for item in value]
    return value


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without(slice_: slices.Slice, refused: Sequence[Refusal]) -> tuple[list[int], list[bytes]]:
    places = {refusal.position for refusal in refused}
    kept = [
        (position, line)
        for position, line in zip(slice_.positions, slice_.events, strict=True)
        if position not in places
    ]
    return [position for position, _ in kept], [line for _, line in kept]
