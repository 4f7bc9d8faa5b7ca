"""Bounded collections whose content does not depend on the order in which things arrive."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec
import xxhash

T = TypeVar("T")

FEW = 8
"""So many entries fit every bound, be they as long as they can, so that most sessions need no account."""

_WORST_BYTES_PER_CHAR = 6
_encode = msgspec.json.Encoder().encode


class Bound(NamedTuple):
    """How much one collection may hold: `max_bytes` of JSON, an entry being its key's JSON and `entry_bytes` more."""

    max_bytes: int
    entry_bytes: int


class Bounded(msgspec.Struct, Generic[T]):
    """Distinct things by content, of which those are kept that have the lowest ranks and together fit the bound.

    A thing's rank is a digest of its key, and what it costs depends on its key alone. So what is kept is a function of
    the set of keys: a thing of the final collection is never turned away nor dropped, whatever comes first, and its
    counts are exact. (Keeping the earliest would not do: an early event may arrive late, of a thing already dropped.)

    `entries` may be read and changed in place; a new key asks `admits` first. The bound is restored by `trim` only.
    `cut[name]` counts the events of what is not kept, `limits[name]` is the lowest rank not kept; both are the state's.
    """

    name: str
    entries: dict[str, T]
    bound: Bound
    events: Callable[[T], int]
    cut: dict[str, int]
    limits: dict[str, int]

    def admits(self, key: str) -> bool:
        """Say whether a thing that is not among `entries` may be added; where not, one event more counts as cut."""
        limit = self.limits.get(self.name)
        if limit is None or _rank(key) < limit:
            return True
        self.cut[self.name] = self.cut.get(self.name, 0) + 1
        return False

    def trim(self) -> None:
        """Drop the entries of the highest ranks until the others fit the bound."""
        if len(self.entries) <= FEW:
            return
        most, fixed = self.bound
        if sum(map(len, self.entries)) * _WORST_BYTES_PER_CHAR + len(self.entries) * fixed <= most:
            return
        used = 0
        ranked = sorted((_rank(key), key) for key in self.entries)
        for index, (rank, key) in enumerate(ranked):
            used += len(_encode(key)) + fixed
            if used > most:
                dropped = sum(self.events(self.entries.pop(key)) for _, key in ranked[index:])
                self.cut[self.name] = self.cut.get(self.name, 0) + dropped
                self.limits[self.name] = rank
                return


def _rank(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode())
