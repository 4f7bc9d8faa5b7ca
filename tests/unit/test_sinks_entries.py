"""The entries of a batch are decoded while they are walked through, once, and then kept."""

from collections.abc import Iterator, Sequence

import pytest

from sinks.entries import Entries


class Parts:
    """Parts of entries, and how many of them have been made."""

    def __init__(self, *parts: Sequence[int]) -> None:
        self.parts, self.made = parts, 0

    def __iter__(self) -> Iterator[Sequence[int]]:
        for part in self.parts:
            self.made += 1
            yield part


def test_a_part_is_made_only_when_those_before_it_have_been_taken() -> None:
    parts = Parts([1, 2], [3], [4])
    walk = iter(Entries(iter(parts)))
    assert [next(walk), next(walk), parts.made] == [1, 2, 1]
    assert [next(walk), parts.made] == [3, 2]


def test_they_are_made_once_however_often_they_are_walked_through() -> None:
    parts = Parts([1, 2], [], [3])
    entries = Entries(iter(parts))
    first = iter(entries)
    assert next(first) == 1
    assert list(entries) == [1, 2, 3], "a second walk overtakes the first"
    assert list(first) == [2, 3]
    assert list(entries) == [1, 2, 3]
    assert parts.made == 3


def test_whether_there_are_any_makes_no_more_than_it_must() -> None:
    parts = Parts([], [1], [2])
    entries = Entries(iter(parts))
    assert entries
    assert parts.made == 2
    assert not Entries(iter(Parts([], [])))


def test_length_and_places_are_those_of_all() -> None:
    entries = Entries(iter(Parts([1, 2], [3])))
    assert entries[2] == 3
    assert len(entries) == 3
    assert entries[1:] == [2, 3]


def test_that_they_could_not_be_made_is_never_taken_for_their_end() -> None:
    def parts() -> Iterator[Sequence[int]]:
        yield [1]
        raise UnicodeError("a bug")

    entries = Entries(parts())
    for _ in range(2):
        with pytest.raises(UnicodeError, match="a bug"):
            list(entries)
        with pytest.raises(UnicodeError, match="a bug"):
            len(entries)
