"""The lines of one window become slices by session, and dead letters. No I/O."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from producers.cowrie.lines import Frame, Piece, cut
from tallystick.contracts.cowrie import UnreadableLine, read_envelope, read_places, session_key
from tallystick.contracts.dead_letters import DeadLetter

RECORD_BYTES = 1024 * 1024
"""How many bytes of events one record holds at most, unless a single event is larger."""

TOO_LONG = "line is too long"

_BATCH_LINES = 500
"""How many lines are read at once; where one of them is unusual, they are read one by one."""

Place = tuple[str, str]
"""Sensor and session."""

Group = tuple[list[int], list[bytes]]
"""Positions and lines of one session's events, ascending."""


class Window(msgspec.Struct, frozen=True):
    """What one window holds: events by record key, in order of first appearance, and dead letters by position."""

    groups: dict[bytes, Group]
    letters: list[DeadLetter]
    events: int
    blank: int


class Run(msgspec.Struct, frozen=True, gc=False):
    """Consecutive events of one session that go into one record."""

    key: bytes
    positions: list[int]
    events: list[bytes]


def sort_lines(frame: Frame, *, source: str, sensor: str, at: str, reason: str = "") -> Window:
    """Return the frame's lines as events, letters written `at` that time, and a count of blank lines.

    `sensor` is that of events that name none. `reason`, where given, replaces why a line can't be read.
    """
    positions, lines = frame.positions, frame.lines
    groups: defaultdict[Place, list[int]] = defaultdict(list)
    bad: list[tuple[int, UnreadableLine]] = []
    for start in range(0, len(lines), _BATCH_LINES):
        batch = lines[start : start + _BATCH_LINES]
        places = read_places(batch, sensor)
        placed = enumerate(places, start) if places is not None else _read_one_by_one(batch, start, sensor, bad)
        for index, place in placed:
            groups[place].append(index)
    letters = [
        _letter(source, piece, at, reason or error.reason, str(error) if reason else error.detail)
        for index, error in bad
        if lines[index].strip()
        for piece in cut(positions[index], lines[index])
    ]
    blank = sum(not lines[index].strip() for index, _ in bad)
    if frame.pieces:
        letters += [_letter(source, piece, at, TOO_LONG) for piece in frame.pieces]
        letters.sort(key=lambda letter: (letter.position, letter.piece))
    return Window(
        {
            session_key(*place): ([positions[index] for index in indices], [lines[index] for index in indices])
            for place, indices in groups.items()
        },
        letters,
        len(lines) - len(bad),
        blank,
    )


def _read_one_by_one(
    lines: list[bytes], start: int, sensor: str, bad: list[tuple[int, UnreadableLine]]
) -> Iterator[tuple[int, Place]]:
    """Yield the index, from `start` on, and the place of each event; add what is none to `bad`, with the reason."""
    for index, line in enumerate(lines, start):
        try:
            found = read_envelope(line, sensor)
        except UnreadableLine as error:
            bad.append((index, error))
        else:
            yield index, (found.sensor, found.session)


def runs(window: Window, *, max_events: int) -> Iterator[Run]:
    """Yield the window's events record by record: at most `max_events` and RECORD_BYTES each."""
    for key, (positions, events) in window.groups.items():
        # The span of the run, cheap to tell, is no less than its bytes.
        span = positions[-1] - positions[0] + len(events[-1])
        if len(events) <= max_events and (span <= RECORD_BYTES or sum(map(len, events)) <= RECORD_BYTES):
            yield Run(key, positions, events)
            continue
        start = size = 0
        for index, event in enumerate(events):
            if index > start and (index - start == max_events or size + len(event) > RECORD_BYTES):
                yield Run(key, positions[start:index], events[start:index])
                start, size = index, 0
            size += len(event)
        yield Run(key, positions[start:], events[start:])


def _letter(source: str, piece: Piece, at: str, reason: str, detail: str = "") -> DeadLetter:
    return DeadLetter(
        source=source,
        position=piece.position,
        reason=reason,
        payload=piece.payload,
        detail=detail,
        piece=piece.number,
        last=piece.last,
        at=at,
    )
