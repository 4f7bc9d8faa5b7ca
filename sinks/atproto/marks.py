"""Up to which revision all is known of a repository, or of some of its collections: a snapshot had all of that.

What is not above its mark comes to the same, in whatever order it comes: the snapshot has it, or it is gone.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from sinks.writers.base import Row
from tallystick.contracts.collections import Choice, is_chosen

ALL = ""
"""In the place of a choice of collections: the whole repository."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The revision of a snapshot: up to it, what the snapshot could have and has not is gone."""

    revision: int
    rev: str


NONE = Mark(-1, "")
_decode = msgspec.json.Decoder(Choice).decode


class Marks:
    """The marks of some repositories, each of a part of one: the whole, or the collections of a choice."""

    def __init__(self, found: Iterable[tuple[str, str, Mark]] = ()) -> None:
        """`found` are DIDs, parts as text, and their marks."""
        self._parts: dict[str, dict[str, Mark]] = {}
        for did, part, mark in found:
            self.take(did, part, mark)

    def take(self, did: str, part: str, mark: Mark) -> bool:
        """Take a mark, unless a later one of the same part is known; return whether it was taken."""
        known = self._parts.setdefault(did, {})
        if mark.revision < known.get(part, NONE).revision:
            return False
        known[part] = mark
        return True

    def of(self, did: str, collection: str) -> Mark:
        """Return the newest mark that a record of a collection lies under, NONE where it lies under none."""
        under = [mark for part, mark in self._parts.get(did, {}).items() if covers(part, collection)]
        return max(under, key=_revision, default=NONE)

    def of_row(self, row: Row) -> Mark:
        """Return that of a row that begins as the key of a record."""
        return self.of(row[0], row[1])

    def __iter__(self) -> Iterator[tuple[str, str, Mark]]:
        """Yield all, as they are given."""
        for did, parts in self._parts.items():
            for part, mark in parts.items():
                yield did, part, mark


def part_of(choice: Choice) -> str:
    """Return a choice of collections as text."""
    return msgspec.json.encode(choice).decode()


@lru_cache(maxsize=4096)
def covers(part: str, collection: str) -> bool:
    """Return whether records of a collection are in a part."""
    return part == ALL or is_chosen(_decode(part), collection)


def _revision(mark: Mark) -> int:
    return mark.revision
