"""The rows of one page become slices by session, and dead letters. No I/O."""

from collections.abc import Iterable, Iterator

import msgspec

from producers.cowrie.importing.database import OldRow, Table
from producers.cowrie.importing.identity import Selection
from producers.cowrie.importing.payloads import Remains, event_lines
from producers.cowrie.lines import Frame, Piece, cut
from producers.cowrie.windows import TOO_LONG, Window, sort_lines
from tallystick.contracts import timestamps
from tallystick.contracts.cowrie import UnreadableLine, read_envelope
from tallystick.contracts.dead_letters import PIECE_BYTES, DeadLetter

_NOTHING = Piece(0, 0, b"", last=True)

NO_PAYLOAD = "no payload"
BETWEEN = "not JSON"
REPAIRED = "made up by the repair of cowrieprocessor"
"""It glued events together and invented addresses and times; what it started from is in its dead letters, untouched."""


class Wanted(msgspec.Struct, frozen=True):
    """How the rows of a table are read: what is wanted, which source they are, the sensor of those that name none."""

    table: Table
    selection: Selection
    source: str
    sensor: str
    max_line_bytes: int


def sort_rows(rows: Iterable[OldRow], wanted: Wanted, *, at: str) -> Window:
    """Return the wanted ones of `rows` as events and as letters written `at` that time.

    A row whose payload is too long to be read as a whole is left out: see `long_rows`.
    """
    positions: list[int] = []
    lines: list[bytes] = []
    letters: list[DeadLetter] = []
    origins: dict[int, str] = {}
    for row in rows:
        if _is_too_long(row):
            continue
        for position, part in enumerate(_parts(row, wanted), row.id * wanted.table.parts):
            if isinstance(part, _Refused):
                if wanted.selection.takes(_stored(row, wanted.selection)):
                    letters += _letters(position, row, part, wanted, at=at)
            elif wanted.selection.takes(_moment(part, row, wanted.selection)):
                positions.append(position)
                lines.append(part)
                origins[position] = _reference(row, wanted)
    end = positions[-1] if positions else 0
    window = sort_lines(Frame(positions, lines, [], end), source=wanted.source, sensor=wanted.sensor, at=at)
    refused = [
        msgspec.structs.replace(letter, detail=f"{origins[letter.position]}; {letter.detail}".rstrip("; "))
        for letter in window.letters
    ]
    every = sorted(letters + refused, key=lambda letter: (letter.position, letter.piece))
    return msgspec.structs.replace(window, letters=every)


def long_rows(rows: Iterable[OldRow], selection: Selection) -> list[OldRow]:
    """Return the wanted ones of `rows` whose payload is too long to be read as a whole."""
    return [row for row in rows if _is_too_long(row) and selection.takes(_stored(row, selection))]


def too_long(row: OldRow, wanted: Wanted, pieces: Iterable[bytes], *, at: str) -> Iterator[DeadLetter]:
    """Yield the letters of a row whose payload is too long to be read as a whole, and comes in `pieces`."""
    last = (row.size - 1) // PIECE_BYTES
    for number, payload in enumerate(pieces):
        yield DeadLetter(
            source=wanted.source,
            position=row.id * wanted.table.parts,
            reason=TOO_LONG,
            payload=payload,
            detail=_reference(row, wanted),
            piece=number,
            last=number == last,
            at=at,
        )


def _is_too_long(row: OldRow) -> bool:
    return row.payload is None and row.size > 0


class _Refused(msgspec.Struct, frozen=True):
    """A part of a row that is no event."""

    payload: bytes
    reason: str
    detail: str = ""


def _parts(row: OldRow, wanted: Wanted) -> list[bytes | _Refused]:
    if row.payload is None:
        return [_Refused(b"", NO_PAYLOAD)]
    if row.repaired:
        return [_Refused(row.payload, REPAIRED)]
    try:
        found = event_lines(row.payload, most=wanted.table.parts)
    except UnreadableLine as error:
        return [_Refused(row.payload, error.reason, error.detail)]
    return [
        _Refused(part.content, BETWEEN)
        if isinstance(part, Remains)
        else _Refused(part, TOO_LONG)
        if len(part) > wanted.max_line_bytes
        else part
        for part in found
    ]


def _letters(position: int, row: OldRow, refused: _Refused, wanted: Wanted, *, at: str) -> list[DeadLetter]:
    return [
        DeadLetter(
            source=wanted.source,
            position=position,
            reason=refused.reason,
            payload=piece.payload,
            detail=f"{_reference(row, wanted)}; {refused.detail}".rstrip("; "),
            piece=piece.number,
            last=piece.last,
            at=at,
        )
        for piece in cut(position, refused.payload) or [_NOTHING]
    ]


def _reference(row: OldRow, wanted: Wanted) -> str:
    return f"{wanted.table.name} {row.id}, of {row.origin or 'an unknown place'}"


def _moment(line: bytes, row: OldRow, selection: Selection) -> str:
    """Return when the event happened; of a line that is no event, when the old tool stored it."""
    if not (selection.since or selection.until):
        return ""
    try:
        return read_envelope(line).timestamp
    except UnreadableLine:
        return _stored(row, selection)


def _stored(row: OldRow, selection: Selection) -> str:
    """Return when the old tool stored a row; where that can't be told, a time that is wanted: nothing is left out."""
    try:
        return timestamps.canonical(row.stored_at)
    except ValueError:
        return selection.since
