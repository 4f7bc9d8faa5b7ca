"""Framing of JSON objects that don't keep to lines: pretty-printed ones in a row, or an array. No I/O, bounded memory.

What is neither an object nor a separator becomes a line with a reason, which no one can take for an event, and the next
object is found behind it. White space separates everywhere; in an array brackets do, and a comma between two objects.
Separators are counted as nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from producers.cowrie.lines import MAX_LINES, Frame, Piece, cut
from producers.cowrie.scanning import START_BYTES, Broken, Glued, Whole, compacted, find_end, next_start, skip_space
from tallystick.contracts.dead_letters import PIECE_BYTES

BROKEN, STRAY = "broken object", "not part of an object"

Place = Literal["row", "before", "opened", "filled", "closed", "unknown"]
"""Where one is: in a row of objects; or before an array, behind its bracket, behind an object in it, behind it all;
or in or behind an array, one can't know."""

_BRACKETS: dict[tuple[bytes, Place], Place] = {
    (b"[", "before"): "opened",
    (b"[", "closed"): "opened",
    (b"[", "unknown"): "opened",
    (b"]", "opened"): "closed",
    (b"]", "filled"): "closed",
    (b"]", "unknown"): "closed",
}
"""The brackets that are in order there, and where they lead to."""
_WHITE = b" \t\r\n"


class ObjectFrame(Frame, frozen=True):
    """Objects as they stand in the content, maybe over several lines, and what is none, with its reason."""

    def events(self, indices: Sequence[int]) -> list[bytes]:
        """Return the objects at `indices`, which must be valid JSON, as events of one line each."""
        return [compacted(self.lines[index]) for index in indices]


class _Part(msgspec.Struct, frozen=True, gc=False):
    """What goes from `start` up to `end`, and where one is behind it. `reason` says why it is no object."""

    kind: Literal["object", "separator", "bad", "long"]
    start: int
    end: int
    place: Place
    reason: str = ""


class _Cutting:
    """Goes through `data` part by part, as far as can be told; then `at` is where the first thing begins that can't.

    A part of more than `most` bytes is a long one, whatever it is, and ends where the first name of an object is seen.
    """

    def __init__(self, data: bytes, place: Place, *, most: int, is_long: bool) -> None:
        self.at, self.place, self.is_long = 0, place, is_long
        self._data, self._most = data, most

    def __iter__(self) -> Iterator[_Part]:
        while self.is_long or self._skip_space():
            part = self._part()
            if part is None:
                return
            self.at, self.place, self.is_long = part.end, part.place, False
            yield part

    def _skip_space(self) -> bool:
        self.at = skip_space(self._data, self.at)
        return self.at < len(self._data)

    def _part(self) -> _Part | None:
        if not self.is_long:
            part = self._object() if self._data[self.at] == 0x7B else self._between()
            # To tell that a part has ended, a little more than the part must be seen.
            length = part.end - self.at if part else len(self._data) - self.at - START_BYTES
            if length <= self._most:
                return part
            self.is_long = True
        end = next_start(self._data, self.at + 1)
        return None if end is None else _Part("long", self.at, end, self.place)

    def _object(self) -> _Part | None:
        found = find_end(self._data, self.at)
        match found:
            case Whole(end):
                return _Part("object", self.at, end, "row" if self.place == "row" else "filled")
            case Glued(start):
                return self._bad(start, BROKEN)
            case Broken(searched, following):
                return self._bad(self._next_event(searched) if following is None else following, BROKEN)
        return None

    def _between(self) -> _Part | None:
        mark, after = self._data[self.at : self.at + 1], self.at + 1
        if place := _BRACKETS.get((mark, self.place)):
            return _Part("separator", self.at, after, place)
        if mark == b"," and self.place in {"filled", "unknown"}:
            following = skip_space(self._data, after)
            if following == len(self._data):
                return None
            if self._data[following] == 0x7B:
                return _Part("separator", self.at, following, self.place)
            return self._bad(after, STRAY)
        return self._bad(self._next_event(after), STRAY)

    def _next_event(self, at: int) -> int | None:
        """Return where, from `at` on, the next object begins, but not one that is nested in half an event."""
        while (start := next_start(self._data, at)) is not None:
            found = find_end(self._data, start)
            if found is None:
                return None
            if not isinstance(found, Whole) or b'"eventid"' in self._data[start : found.end]:
                return start
            at = found.end
        return None

    def _bad(self, end: int | None, reason: str) -> _Part | None:
        return None if end is None else _Part("bad", self.at, end, self.place, reason)


class ObjectFramer:
    """Cuts content into JSON objects. `position` is where the first thing begins that can't be told yet.

    That is `undecided`, and looked at again once there is more, so the same parts are found however the content was
    fed. No more is held than `max_line_bytes`, or PIECE_BYTES, a little, and what was fed last. Anything longer, white
    space within included, comes as pieces, and goes on up to the next object whose first name can be seen.
    """

    def __init__(self, position: int, *, max_line_bytes: int, place: Place) -> None:
        self.position = position
        self.undecided = b""
        self._max = max_line_bytes
        self._place = place
        self._is_long = False
        self._emitted = 0

    @property
    def unfinished_bytes(self) -> int:
        """The length so far of what can't be told yet."""
        return self._emitted * PIECE_BYTES + len(self.undecided)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield what `data` completes, up to MAX_LINES at a time; to be consumed before anything else is done.

        The end of a frame may lie before `data`, in what was `undecided`.
        """
        data = self.undecided + data
        base = self.position + self._emitted * PIECE_BYTES
        cutting = _Cutting(data, self._place, most=self._max, is_long=self._is_long)
        frame = ObjectFrame([], [], [], self.position)
        for part in cutting:
            if part.kind == "long":
                where = base + part.start if part.start else self.position
                frame.pieces.extend(cut(where, data[part.start : part.end], self._emitted))
            elif part.kind != "separator":
                if part.reason:
                    frame.reasons[len(frame.lines)] = part.reason
                frame.positions.append(base + part.start)
                frame.lines.append(data[part.start : part.end].rstrip(_WHITE))
            self._emitted = 0
            if len(frame.lines) == MAX_LINES:
                yield self._ended(frame, base + part.end)
                frame = ObjectFrame([], [], [], self.position)
        if cutting.at > 0 or self._emitted == 0:
            self._emitted = 0
            frame = self._ended(frame, base + cutting.at)
        self.undecided, self._place, self._is_long = data[cutting.at :], cutting.place, cutting.is_long
        if self._is_long:
            frame.pieces.extend(self._full_pieces())
        if frame.lines or frame.pieces or frame.end > base:
            yield frame

    def finish(self) -> Frame:
        """Return what can't be told yet as if nothing came any more; `position` stays where it begins."""
        end = self.position + self.unfinished_bytes
        if self._is_long:
            return ObjectFrame([], [], cut(self.position, self.undecided, self._emitted), end)
        if not self.undecided:
            return ObjectFrame([], [], [], end)
        if not self.undecided.startswith(b"{"):
            return ObjectFrame([self.position], [self.undecided.rstrip(_WHITE)], [], end, {0: STRAY})
        reasons = {0: BROKEN} if isinstance(find_end(self.undecided, 0), Broken) else {}
        return ObjectFrame([self.position], [self.undecided], [], end, reasons)

    def _ended(self, frame: ObjectFrame, end: int) -> ObjectFrame:
        self.position = end
        return msgspec.structs.replace(frame, end=end)

    def _full_pieces(self) -> list[Piece]:
        """Return the pieces that are complete of what is too long; its end, where the next object begins, is kept."""
        full = max(0, len(self.undecided) - START_BYTES) // PIECE_BYTES
        pieces = [
            Piece(self.position, self._emitted + index, self.undecided[index * PIECE_BYTES :][:PIECE_BYTES], last=False)
            for index in range(full)
        ]
        self.undecided = self.undecided[full * PIECE_BYTES :]
        self._emitted += full
        return pieces
