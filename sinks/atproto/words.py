"""Sinks whose records are one word each, that makes one row."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from sinks.sink import Decoded, Record
from tallystick.errors import ContractError

T = TypeVar("T")
Entry = TypeVar("Entry")


def decode_word(
    record: Record,
    read: Callable[[bytes], T],
    *,
    key: Callable[[T], str],
    row: Callable[[T], Entry],
    what: str,
) -> Decoded[Entry]:
    """Return the one row of a record that `read` reads, as `row` makes it.

    Raises ContractError where it is not `what` it must be, or the record's key is not that of what it holds: then the
    order of what is told of one thing would be lost.
    """
    value = record.value or b""
    try:
        found = read(value)
    except msgspec.DecodeError as error:
        raise ContractError(f"not {what}: {error}") from error
    if record.key != key(found).encode():
        raise ContractError(f"the record's key is {record.key[:80]!r}, not {key(found)[:80]!r}")
    return Decoded(entries=(row(found),), contents=(value,))
