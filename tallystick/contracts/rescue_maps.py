"""ddrescue's mapfile: which parts of a medium could be read, as its manual describes the format.

Comments begin with `#`. The first other line is the state (position, status, pass), each further one an extent
(position, size, status); extents follow each other without gaps. Numbers are decimal, or hexadecimal after `0x`.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec

from tallystick.errors import ContractError

READ, BAD, UNTRIED = "+", "-", "?"
_STATUSES = frozenset("?*/-+")
_FINISHED = "+"


class Extent(msgspec.Struct, frozen=True):
    """Bytes from `start` on that share a status: `+` was read, `-` can't be read, `?*/` are yet to be tried further."""

    start: int
    size: int
    status: str

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.size

    def split(self, size: int) -> tuple["Extent", "Extent"]:
        """Return its first `size` bytes and the rest, which may be empty."""
        size = min(size, self.size)
        return Extent(self.start, size, self.status), Extent(self.start + size, self.size - size, self.status)


class RescueMap(msgspec.Struct, frozen=True):
    """A mapfile. `finished` says that the rescue came to its end; what is not read by then can't be."""

    extents: tuple[Extent, ...]
    finished: bool

    def unread(self) -> Iterator[Extent]:
        """Return the extents whose bytes were not read: zeros stand for them in the image."""
        return (extent for extent in self.extents if extent.status != READ)

    @property
    def bad_bytes(self) -> int:
        """How many bytes were not read."""
        return sum(extent.size for extent in self.unread())

    @property
    def end(self) -> int:
        """The first byte of the medium that it does not tell of any more."""
        return self.extents[-1].end if self.extents else 0

    def covering(self, size: int) -> tuple[Extent, ...]:
        """Return extents for a medium of so many bytes: what it says nothing of is yet to be tried."""
        start = self.extents[0].start if self.extents else 0
        return joined([Extent(0, start, UNTRIED), *self.extents, Extent(self.end, size - self.end, UNTRIED)])


def parse(text: bytes) -> RescueMap:
    """Return the map that `text` holds. Raises ContractError, with the number of the line."""
    state, extents = None, []
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        try:
            if state is None:
                state = fields[1]
                int(fields[0], 0)
            else:
                extents.append(_extent(fields))
        except (ValueError, IndexError) as error:
            raise ContractError(f"line {number} is none of a ddrescue map: {error}; restore the map") from None
    if state is None:
        raise ContractError("this is no ddrescue map: it has no state; restore the map")
    for before, after in pairwise(extents):
        if before.end != after.start:
            raise ContractError(f"the ddrescue map says nothing of byte {before.end}; restore the map")
    return RescueMap(extents=tuple(extents), finished=state == _FINISHED)


def render(rescue: RescueMap) -> bytes:
    """Return a map as ddrescue writes and reads it."""
    at = next((extent.start for extent in rescue.extents if extent.status == UNTRIED), 0)
    lines = [
        "# Mapfile. Created by Tallystick",
        "# current_pos  current_status  current_pass",
        f"0x{at:08X}     {_FINISHED if rescue.finished else UNTRIED}               1",
        "#      pos        size  status",
        *(f"0x{extent.start:08X}  0x{extent.size:08X}  {extent.status}" for extent in rescue.extents),
    ]
    return "\n".join(lines).encode() + b"\n"


def joined(extents: Iterable[Extent]) -> tuple[Extent, ...]:
    """Return extents that follow each other with neighbours of one status as one, and none that is empty."""
    found: list[Extent] = []
    for extent in extents:
        if extent.size <= 0:
            continue
        if found and found[-1].status == extent.status:
            found[-1] = Extent(found[-1].start, found[-1].size + extent.size, extent.status)
        else:
            found.append(extent)
    return tuple(found)


def _extent(fields: list[str]) -> Extent:
    extent = Extent(int(fields[0], 0), int(fields[1], 0), fields[2])
    if extent.start < 0 or extent.size < 0:
        raise ValueError("negative numbers")
    if extent.status not in _STATUSES:
        raise ValueError(f"the status {extent.status!r} is not known")
    return extent
