"""What ddrescue could not read, and which bytes of a medium it concerns."""

from bisect import bisect_right

import msgspec

from producers.media.errors import MalformedError
from tallystick.contracts import rescue_maps
from tallystick.errors import ContractError


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
    """Return the damage that a map tells of. Raises MalformedError with the number of the line."""
    try:
        rescue = rescue_maps.parse(text)
    except ContractError as error:
        raise MalformedError("bad_map", f"{error}; image the medium again, or leave the map out") from error
    if not rescue.extents:
        raise MalformedError("bad_map", "the map of ddrescue holds no block: image the medium again, or leave it out")
    return DamageMap(rescue.end, _joined([Range(extent.start, extent.end) for extent in rescue.unread()]))


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
