"""What ddrescue could not read: its map, and which bytes of a medium it concerns.

A map has comments (`#`), one line of what ddrescue was doing, and then `position size status`, in ascending order and
without gaps; numbers are hexadecimal (`0x`) or decimal. (Source: GNU ddrescue's manual, "Mapfile structure".)
"""

from bisect import bisect_right
from typing import Final

import msgspec

from producers.media.errors import MalformedError

RESCUED: Final = "+"
_UNREAD = frozenset("?*/-")
_STATE_FIELDS = (2, 3)


class Range(msgspec.Struct, frozen=True):
    """Bytes of a medium, from `start` up to but not including `end`."""

    start: int
    end: int


class DamageMap(msgspec.Struct, frozen=True):
    """What of a medium could not be read. `bad` ascends, and no two ranges touch. `size` is where the map ends."""

    size: int = 0
    bad: tuple[Range, ...] = ()

    @property
    def bad_bytes(self) -> int:
        """How many bytes could not be read."""
        return sum(each.end - each.start for each in self.bad)

    def hit(self, start: int, length: int) -> int:
        """Return how many of `length` bytes from `start` on could not be read."""
        end, total = start + length, 0
        for at in range(max(0, bisect_right(self.bad, start, key=_start) - 1), len(self.bad)):
            found = self.bad[at]
            if found.start >= end:
                break
            total += max(0, min(end, found.end) - max(start, found.start))
        return total

    def until(self, size: int) -> "DamageMap":
        """Return the map of an image that holds only `size` bytes: all that lies beyond is bad, too."""
        return DamageMap(self.size, _joined([*self.bad, Range(size, _ENDLESS)]))


_ENDLESS = 1 << 63


def _start(found: Range) -> int:
    return found.start


def parse_map(text: bytes) -> DamageMap:
    """Return the map that `text` holds. Raises MalformedError with the number of the line."""
    state_seen, at, bad = False, 0, list[Range]()
    first = True
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(b"#", 1)[0].split()
        if not fields:
            continue
        if not state_seen:
            if len(fields) not in _STATE_FIELDS:
                raise _malformed(number, "the first line must be `position status [pass]`")
            _integer(fields[0], number)
            state_seen = True
            continue
        start, end, status = _block(fields, number)
        if not first and start != at:
            raise _malformed(number, f"a block begins at {start:#x}, but the one before ends at {at:#x}")
        if status in _UNREAD:
            bad.append(Range(start, end))
        at, first = end, False
    if first:
        raise MalformedError("bad_map", "the map of ddrescue holds no block: image the medium again, or leave it out")
    return DamageMap(at, _joined(bad))


def _block(fields: list[bytes], number: int) -> tuple[int, int, str]:
    if len(fields) != 3:
        raise _malformed(number, "a block must be `position size status`")
    start, length, status = (
        _integer(fields[0], number),
        _integer(fields[1], number),
        fields[2].decode("ascii", "replace"),
    )
    if status != RESCUED and status not in _UNREAD:
        raise _malformed(number, f"the status is {status!r}, which is none of + ? * / -")
    return start, start + length, status


def _integer(digits: bytes, number: int) -> int:
    try:
        value = int(digits, 16) if digits[:2].lower() == b"0x" else int(digits)
    except ValueError:
        value = -1
    if value < 0:
        raise _malformed(number, f"{digits[:40]!r} is no number")
    return value


def _malformed(number: int, what: str) -> MalformedError:
    return MalformedError(
        "bad_map", f"line {number} of the map of ddrescue: {what}; image the medium again, or leave the map out"
    )


def _joined(ranges: list[Range]) -> tuple[Range, ...]:
    """Return ascending ranges with those that touch or overlap made one, and empty ones left out."""
    joined: list[Range] = []
    for found in sorted(ranges, key=_start):
        if found.start == found.end:
            continue
        if joined and found.start <= joined[-1].end:
            joined[-1] = Range(joined[-1].start, max(joined[-1].end, found.end))
        else:
            joined.append(found)
    return tuple(joined)
