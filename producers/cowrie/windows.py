"""The lines of one window become slices by session, and dead letters. No I/O."""

from collections.abc import Iterator

import msgspec

from producers.cowrie.lines import Frame, Piece, cut
from tallystick.contracts.cowrie import UnreadableLine, read_envelope, session_key
from tallystick.contracts.dead_letters import DeadLetter

RECORD_BYTES = 1024 * 1024
"""How many bytes of events one record holds at most, unless a single event is larger."""

TOO_LONG = "line is too long"

Group = tuple[list[int], list[bytes]]
"""Positions and lines of one session's events, ascending."""


class Window(msgspec.Struct, frozen=True):
    """What one window holds: events by record key, in order of first appearance, and dead letters by position."""

    groups: dict[bytes, Group]
    letters: list[DeadLetter]
    events: int
    blank: int


class Run(msgspec.Struct, frozen=True):
    """Consecutive events of one session that go into one record."""

    key: bytes
    positions: list[int]
    events: list[bytes]


def sort_lines(frame: Frame, *, source: str, sensor: str, at: str, reason: str = "") -> Window:
    """Return the frame's lines as events, letters written `at` that time, and a count of blank lines.

    `sensor` is that of events that name none. `reason`, where given, replaces why a line can't be read.
    """
    places: dict[tuple[str, str], Group] = {}
    letters: list[DeadLetter] = []
    blank = 0
    for position, line in zip(frame.positions, frame.lines, strict=True):
        if not line:
            blank += 1
            continue
        try:
            found = read_envelope(line, sensor)
        except UnreadableLine as error:
            if line.strip():
                why, detail = reason or error.reason, str(error) if reason else error.detail
                letters += [_letter(source, piece, at, why, detail) for piece in cut(position, line)]
            else:
                blank += 1
            continue
        place = (found.sensor, found.session)
        group = places.get(place)
        if group is None:
            group = places[place] = ([], [])
        group[0].append(position)
        group[1].append(line)
    if frame.pieces:
        letters += [_letter(source, piece, at, TOO_LONG) for piece in frame.pieces]
        letters.sort(key=lambda letter: (letter.position, letter.piece))
    groups = {session_key(*place): group for place, group in places.items()}
    return Window(groups, letters, sum(len(group[0]) for group in groups.values()), blank)


def runs(window: Window, *, max_events: int) -> Iterator[Run]:
    """Yield the window's events record by record: at most `max_events` and RECORD_BYTES each."""
    for key, (positions, events) in window.groups.items():
        if len(events) <= max_events and sum(map(len, events)) <= RECORD_BYTES:
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
