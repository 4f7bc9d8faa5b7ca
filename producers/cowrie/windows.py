"""The lines of one window become slices by session, and dead letters. No I/O."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, tzinfo

import msgspec

from producers.cowrie.lines import Frame, Piece, cut
from tallystick.contracts.cowrie import UnreadableLine, read_envelope, read_places, session_key
from tallystick.contracts.dead_letters import DeadLetter

RECORD_BYTES = 1024 * 1024
"""How many bytes of events one record holds at most, unless a single event is larger."""

TOO_LONG = "line is too long"

_BATCH_LINES = 500
"""How many lines are read at once; where one of them is unusual, they are read one by one."""


class Window(msgspec.Struct, frozen=True):
    """What a frame holds: by record key the indices of its events among the lines of the frame, and dead letters.

    Keys come in order of first appearance, indices ascend, and letters are ordered by position.
    """

    frame: Frame
    groups: dict[bytes, list[int]]
    letters: list[DeadLetter]
    events: int
    blank: int


class Run(msgspec.Struct, frozen=True, gc=False):
    """Consecutive events of one session that go into one record."""

    key: bytes
    positions: list[int]
    events: list[bytes]


def sort_lines(frame: Frame, *, source: str, sensor: str, at: str, zone: tzinfo = UTC, reason: str = "") -> Window:
    """Return the frame's lines as events, letters written `at` that time, and a count of blank lines.

    `sensor` is that of events that name none, `zone` that of timestamps. `reason`, where given, replaces why a line
    can't be read.
    """
    positions, lines = frame.positions, frame.lines
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    letters: list[DeadLetter] = []
    blank = 0
    for start in range(0, len(lines), _BATCH_LINES):
        batch = lines[start : start + _BATCH_LINES]
        if (places := read_places(batch, sensor)) is not None:
            for index, place in enumerate(places, start):
                groups[place].append(index)
            continue
        for index, line in enumerate(batch, start):
            if not line:
                blank += 1
                continue
            try:
                found = read_envelope(line, sensor, zone)
            except UnreadableLine as error:
                if line.strip():
                    given = frame.reasons.get(index) or reason
                    why, detail = given or error.reason, str(error) if given else error.detail
                    letters += [
                        _letter(source, piece, at, why, detail=detail, sensor=sensor)
                        for piece in cut(positions[index], line)
                    ]
                else:
                    blank += 1
            else:
                groups[found.sensor, found.session].append(index)
    if frame.pieces:
        letters += [_letter(source, piece, at, TOO_LONG, sensor=sensor) for piece in frame.pieces]
        letters.sort(key=lambda letter: (letter.position, letter.piece))
    return Window(
        frame,
        {session_key(*place): indices for place, indices in groups.items()},
        letters,
        sum(map(len, groups.values())),
        blank,
    )


def runs(window: Window, *, max_events: int) -> Iterator[Run]:
    """Yield the window's events record by record: at most `max_events` and RECORD_BYTES each."""
    all_positions = window.frame.positions
    for key, indices in window.groups.items():
        positions, events = [all_positions[index] for index in indices], window.frame.events(indices)
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


def _letter(source: str, piece: Piece, at: str, reason: str, *, sensor: str, detail: str = "") -> DeadLetter:
    return DeadLetter(
        source=source,
        position=piece.position,
        reason=reason,
        payload=piece.payload,
        detail=detail,
        piece=piece.number,
        last=piece.last,
        at=at,
        sensor=sensor,
    )
