"""Timestamp identifiers: revisions of repositories, and most record keys.

13 characters of a sortable base32: a zero bit, 53 bits of microseconds since 1970, 10 bits of a clock's number. As text
they sort as time does. Source: https://atproto.com/specs/tid
"""

import re

MAX_AHEAD_US = 5 * 60 * 1_000_000
"""How far a revision may lie ahead of this clock, in microseconds."""

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_TID = re.compile("[234567a-j][234567a-z]{12}")


def is_tid(text: str) -> bool:
    """Return whether `text` is a TID."""
    return _TID.fullmatch(text) is not None


def tid_microseconds(tid: str) -> int:
    """Return the time within a TID, in microseconds since 1970. Raises ValueError where it is none."""
    return tid_number(tid) >> 10


def tid_number(tid: str) -> int:
    """Return a TID as a number of 63 bits, which sorts as the text does. Raises ValueError where it is none."""
    if not is_tid(tid):
        raise ValueError(f"no TID: {tid[:32]!r}")
    number = 0
    for character in tid:
        number = number << 5 | _VALUES[character]
    return number


def tid_at(microseconds: int, clock: int = 0) -> str:
    """Return the TID of a time, by the clock of number `clock` (0 to 1023)."""
    number = microseconds << 10 | clock
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5))
