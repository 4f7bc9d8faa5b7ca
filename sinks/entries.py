"""The entries of a batch, decoded while they are walked through."""

from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

Entry = TypeVar("Entry")


class Entries(Sequence[Entry]):
    """A sequence that is made, part by part, while it is first walked through, and then kept.

    So a writer that hands each entry on at once gives the database work while the next part is decoded. Whoever asks
    for the length, or for an entry by its place, has all of them made. What the making raises is raised again whenever
    more is wanted: that it failed is never taken for the end.
    """

    def __init__(self, parts: Iterator[Sequence[Entry]]) -> None:
        self._parts = parts
        self._made: list[Entry] = []
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Entry]:
        place = 0
        while place < len(self._made) or self._make():
            part = self._made[place:]
            place += len(part)
            yield from part

    def __bool__(self) -> bool:
        return bool(self._made) or self._make()

    def __len__(self) -> int:
        while self._make():
            pass
        return len(self._made)

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Entry]: ...
    def __getitem__(self, place: int | slice) -> Entry | Sequence[Entry]:
        len(self)
        return self._made[place]

    def _make(self) -> bool:
        """Make the next entries; False where there are no more."""
        if self._error is not None:
            raise self._error
        try:
            for part in self._parts:
                if part:
                    self._made.extend(part)
                    return True
        except BaseException as error:
            self._error = error
            raise
        return False
