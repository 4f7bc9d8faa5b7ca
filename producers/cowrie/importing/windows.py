"""The rows of one page become slices by session, and dead letters. No I/O."""

from collections.abc import Iterable, Iterator

import msgspec

from producers.cowrie.importing.database import OldRow
from producers.cowrie.importing.identity import Selection
from producers.cowrie.importing.payloads import event_line
from producers.cowrie.lines import Frame, Piece, cut
from producers.cowrie.windows import TOO_LONG, Window, sort_lines
from tallystick.contracts import timestamps
from tallystick.contracts.cowrie import UnreadableLine, read_envelope
from tallystick.contracts.dead_letters import PIECE_BYTES, DeadLetter

_NOTHING = Piece(0, 0, b"", last=True)

NO_PAYLOAD = "no payload"
REPAIRED = "made up by the repair of cowrieprocessor"
"""It glued events together and invented addresses and times; what it started from is in its dead letters, untouched."""


class Wanted(msgspec.Struct, frozen=True):
    """How rows are read: what is wanted of them, from which source they then are, and the sensor of those without."""

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
        try:
            line = _line(row, wanted.max_line_bytes)
        except UnreadableLine as error:
            if wanted.selection.takes(_stored(row, wanted.selection)):
                letters += _letters(row, wanted, error, at=at)
            continue
        if wanted.selection.takes(_moment(line, row, wanted.selection)):
            positions.append(row.id)
            lines.append(line)
            origins[row.id] = _reference(row, wanted)
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
            position=row.id,
            reason=TOO_LONG,
            payload=payload,
            detail=_reference(row, wanted),
            piece=number,
            last=number == last,
            at=at,
        )


def _is_too_long(row: OldRow) -> bool:
    return row.payload is None and row.size > 0


def _line(row: OldRow, max_line_bytes: int) -> bytes:
    if row.payload is None:
        raise UnreadableLine(NO_PAYLOAD)
    if row.repaired:
        raise UnreadableLine(REPAIRED)
    line = event_line(row.payload)
    if len(line) > max_line_bytes:
        raise UnreadableLine(TOO_LONG)
    return line


def _letters(row: OldRow, wanted: Wanted, error: UnreadableLine, *, at: str) -> list[DeadLetter]:
    return [
        DeadLetter(
            source=wanted.source,
            position=row.id,
            reason=error.reason,
            payload=piece.payload,
            detail=f"{_reference(row, wanted)}; {error.detail}".rstrip("; "),
            piece=piece.number,
            last=piece.last,
            at=at,
        )
        for piece in cut(row.id, row.payload or b"") or [_NOTHING]
    ]


def _reference(row: OldRow, wanted: Wanted) -> str:
    return f"{wanted.selection.table} {row.id}, of {row.origin or 'an unknown place'}"


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
