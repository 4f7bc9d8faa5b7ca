"""Framing: bytes as they are read become lines that know where they stand. No I/O, and bounded memory."""

import operator
from collections.abc import Iterator, Sequence
from itertools import accumulate, count

import msgspec

from tallystick.contracts.dead_letters import PIECE_BYTES

BOM = b"\xef\xbb\xbf"
MAX_LINES = 100_000
"""How many lines a frame holds at most: a line costs memory, however short it is."""


class Piece(msgspec.Struct, frozen=True):
    """A part of a line that is too long: its `number`th PIECE_BYTES, the `last` of them maybe shorter."""

    position: int
    number: int
    payload: bytes
    last: bool


class Frame(msgspec.Struct, frozen=True):
    """Lines that have been completed, without their ends, and pieces of those that were too long.

    `positions[i]` is where `lines[i]` begins; both ascend. `end` is where the next line begins. `reasons` says of some
    lines, by their index, why they are no events.
    """

    positions: list[int]
    lines: list[bytes]
    pieces: list[Piece]
    end: int
    reasons: dict[int, str] = {}

    def events(self, indices: Sequence[int]) -> list[bytes]:
        """Return the lines at `indices` as events, which never hold a line end."""
        return [self.lines[index] for index in indices]


class Framer:
    """Cuts content into lines. `position` is where the line begins that is not finished yet.

    A line ends with LF or CR LF. Of an unfinished line no more is held than `max_line_bytes` or PIECE_BYTES, and what
    was fed last; what is too long comes as pieces, cut at the same places however the content was fed.
    """

    undecided = b""
    """What was fed and may still come to stand on either side of the end of a frame: nothing."""

    def __init__(self, position: int, *, max_line_bytes: int) -> None:
        self.position = position
        self._max = max_line_bytes
        self._parts: list[bytes] = []
        self._held = 0
        self._emitted = 0

    @property
    def unfinished_bytes(self) -> int:
        """The length so far of the line that is not finished yet."""
        return self._emitted * PIECE_BYTES + self._held

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield what `data` completes, up to MAX_LINES at a time; to be consumed before anything else is done."""
        with_returns = b"\r" in data or (self._held > 0 and self._parts[-1].endswith(b"\r"))
        lines = data.split(b"\n")
        rest = lines.pop()
        pieces: list[Piece] = []
        if lines and (length := self.unfinished_bytes + len(lines[0])) > self._max:
            pieces = self._hold(lines.pop(0)) + self._end_long_line()
            self.position += length + 1
        elif lines and self._held:
            lines[0] = b"".join((*self._take(), lines[0]))
        for start in range(0, len(lines), MAX_LINES):
            yield self._frame(lines[start : start + MAX_LINES], pieces, with_returns)
            pieces = []
        if pieces := pieces + self._hold(rest):
            yield Frame([], [], pieces, self.position)

    def finish(self) -> Frame:
        """Return the unfinished last line as if it had been finished; `position` stays where it begins."""
        end = self.position + self.unfinished_bytes
        if self.unfinished_bytes > self._max:
            return Frame([], [], self._end_long_line(), end)
        tail = b"".join(self._take())
        return Frame([self.position], [tail.removesuffix(b"\r")], [], end) if tail else Frame([], [], [], end)

    def _frame(self, lines: list[bytes], pieces: list[Piece], with_returns: bool) -> Frame:
        lengths = list(map(len, lines))
        positions = list(map(operator.add, accumulate(lengths, initial=self.position), count()))
        self.position = positions.pop()
        if max(lengths) > self._max:
            long = [index for index, length in enumerate(lengths) if length > self._max]
            pieces = pieces + [piece for index in long for piece in cut(positions[index], lines[index])]
            for index in reversed(long):
                del positions[index], lines[index]
        if with_returns:
            lines = [line.removesuffix(b"\r") for line in lines]
        return Frame(positions, lines, pieces, self.position)

    def _hold(self, data: bytes) -> list[Piece]:
        """Keep the beginning of a line; return the pieces that are complete where it has become too long."""
        if data:
            self._parts.append(data)
            self._held += len(data)
        # The last piece is known only once the line ends, so one byte at least is always kept for it.
        full = (self._held - 1) // PIECE_BYTES if self.unfinished_bytes > self._max else 0
        if full <= 0:
            return []
        whole = b"".join(self._take())
        rest = whole[full * PIECE_BYTES :]
        self._parts, self._held = [rest], len(rest)
        first, self._emitted = self._emitted, self._emitted + full
        return [
            Piece(self.position, first + index, whole[index * PIECE_BYTES : (index + 1) * PIECE_BYTES], last=False)
            for index in range(full)
        ]

    def _end_long_line(self) -> list[Piece]:
        first, self._emitted = self._emitted, 0
        return cut(self.position, b"".join(self._take()), first)

    def _take(self) -> list[bytes]:
        parts, self._parts, self._held = self._parts, [], 0
        return parts


def cut(position: int, line: bytes, first: int = 0) -> list[Piece]:
    """Return `line`, or what is left of it from its `first` piece on, as pieces."""
    starts = range(0, len(line), PIECE_BYTES)
    return [
        Piece(position, first + index, line[at : at + PIECE_BYTES], last=at + PIECE_BYTES >= len(line))
        for index, at in enumerate(starts)
    ]
