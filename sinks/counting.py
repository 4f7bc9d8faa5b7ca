"""Counting every event of a source once, however often it is sent. Pure.

A producer may send a part of a source again after a crash, cut into other slices. What has been counted is known by
position: everything below `low`, and the positions in `seen`. A record's `low` says that all of its source below it was
sent before, in this partition or another; Kafka keeps the order, so below `low` only repeats can come.
"""

import sys
from array import array
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from tallystick.contracts.slices import Slice
from tallystick.errors import ContractError

MISSING: Final = 0
"""The database holds no such row although it was told to store it: nothing is counted, and so nothing will tally."""
INSERTED: Final = 1
"""The row came from this very event."""
PRESENT: Final = 2
"""The same event is there from elsewhere."""
REFUSED: Final = 3
"""The event can't be stored and is a dead letter."""

MAX_POSITION: Final = 1 << 63
MAX_SPREAD: Final = 1 << 32
"""No position of a record is as far above the record's `low`."""
MAX_SOURCE_CHARS: Final = 255


class Count(msgspec.Struct):
    """What one sink has committed of one source from one partition; `next_offset` follows its last record."""

    next_offset: int = 0
    inserted: int = 0
    present: int = 0
    dead: int = 0
    low: int = 0
    seen: set[int] = msgspec.field(default_factory=set)

    def copy(self) -> "Count":
        """Return a count that can be changed without changing this one."""
        return Count(self.next_offset, self.inserted, self.present, self.dead, self.low, set(self.seen))

    def admit(self, low: int, positions: Sequence[int]) -> Collection[int]:
        """Return those of `positions` (which ascend) that have not been counted, and hold them for counted from now.

        `low` is the record's.
        """
        self.low = max(self.low, low)
        if positions[0] >= self.low and self.seen.isdisjoint(positions):
            self.seen.update(positions)
            return positions
        fresh = {position for position in positions if position >= self.low} - self.seen
        self.seen |= fresh
        return fresh

    def prune(self) -> None:
        """Let go of the positions that `low` has passed; nothing that is returned or encoded changes."""
        self.seen = {position for position in self.seen if position >= self.low}

    def add(self, fates: bytes) -> None:
        """Count events by their fate: one byte each, `INSERTED`, `PRESENT`, `REFUSED` or `MISSING`."""
        self.inserted += fates.count(INSERTED)
        self.present += fates.count(PRESENT)
        self.dead += fates.count(REFUSED)

    def take(self, low: int, positions: Sequence[int], fates: bytes) -> None:
        """Count the events of one record, those that were counted before excepted. `fates[i]` is of `positions[i]`."""
        if not positions:
            return
        fresh = self.admit(low, positions)
        if len(fresh) == len(positions):
            self.add(fates)
        elif fresh:
            self.add(bytes(fate for position, fate in zip(positions, fates, strict=True) if position in fresh))


def require_countable(slice_: Slice) -> None:
    """Raise ContractError where a `Count` can't hold the source or the positions of `slice_`."""
    first, last = slice_.positions[0], slice_.positions[-1]
    if not 0 < len(slice_.source) <= MAX_SOURCE_CHARS:
        raise ContractError(f"not a slice: its source id has {len(slice_.source)} characters")
    if not 0 <= slice_.low <= first <= last < min(slice_.low + MAX_SPREAD, MAX_POSITION):
        raise ContractError(f"not a slice: positions from {first} to {last}, low is {slice_.low}")


def encode_seen(count: Count) -> bytes:
    """Return the positions of `count` at or above its `low`: u32 little-endian each, less `low`, ascending."""
    offsets = array("I", sorted(position - count.low for position in count.seen if position >= count.low))
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets.tobytes()


def decode_seen(packed: bytes, low: int) -> set[int]:
    """Return the positions that `encode_seen` packed."""
    offsets = array("I", packed)
    if sys.byteorder == "big":
        offsets.byteswap()
    return {low + offset for offset in offsets}
