"""Framing: bytes as they are read become lines that know where they stand. No I/O, and bounded memory."""

import operator
from itertools import accumulate, count

import msgspec

from tallystick.contracts.dead_letters import PIECE_BYTES

BOM = b"\xef\xbb\xbf"


class Piece(msgspec.Struct, frozen=True):
    """A part of a line that is too long: its `number`th PIECE_BYTES, the `last` of them maybe shorter."""

    position: int
    number: int
    payload: bytes
    last: bool


class Frame(msgspec.Struct, frozen=True):
    """The lines that one window has completed, without their ends, and pieces of those that were too long.

    `positions[i]` is where `lines[i]` begins. Both lists ascend by position.
    """

    positions: list[int]
    lines: list[bytes]
    pieces: list[Piece]


class Framer:
    """Cuts content into lines. `position` is where the line begins that is not finished yet.

    A line ends with LF or CR LF. Of an unfinished line no more is held than `max_line_bytes` or PIECE_BYTES, and what
    was fed last; what is too long comes as pieces, cut at the same places however the content was fed.
    """

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

    def feed(self, data: bytes) -> Frame:
        """Return what `data` has completed."""
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if last < 0:
            return Frame([], [], self._hold(data))
        positions: list[int] = []
        lines: list[bytes] = []
        pieces: list[Piece] = []
        start = 0
        if (length := self.unfinished_bytes + first) > self._max:
            pieces = self._hold(data[:first]) + self._end_long_line()
            self.position += length + 1
            start = first + 1
        if start <= last:
            positions, lines, long = self._split(b"".join((*self._take(), data[start:last])))
            pieces += long
        pieces += self._hold(data[last + 1 :])
        return Frame(positions, lines, pieces)

    def finish(self) -> Frame:
        """Return the unfinished last line as if it had been finished; `position` stays where it begins."""
        if self.unfinished_bytes > self._max:
            return Frame([], [], self._end_long_line())
        tail = b"".join(self._take())
        return Frame([self.position], [tail.removesuffix(b"\r")], []) if tail else Frame([], [], [])

    def _split(self, block: bytes) -> tuple[list[int], list[bytes], list[Piece]]:
        lines = block.split(b"\n")
        lengths = list(map(len, lines))
        positions = list(map(operator.add, accumulate(lengths, initial=self.position), count()))
        self.position = positions.pop()
        pieces: list[Piece] = []
        if max(lengths) > self._max:
            long = [index for index, length in enumerate(lengths) if length > self._max]
            pieces = [piece for index in long for piece in cut(positions[index], lines[index])]
            for index in reversed(long):
                del positions[index], lines[index]
        if b"\r" in block:
            lines = [line.removesuffix(b"\r") for line in lines]
        return positions, lines, pieces

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
