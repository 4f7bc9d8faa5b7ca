"""Storing a batch although some of it can't be stored: halves, quarters, … until what is refused stands alone."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from sinks.counting import REFUSED
from tallystick.database.errors import is_bad_data
from tallystick.errors import ServiceError

Entry = TypeVar("Entry")
Write = Callable[[sa.Connection, Sequence[Entry]], bytes]

MOST_REFUSED = 1_000
"""So many entries of one batch in a row are never the fault of each of them."""
_WHOLE = slice(None)
"""Given to `write` as it is, as it may be a sequence that is made while it is walked through."""


def write_isolating(
    connection: sa.Connection, entries: Sequence[Entry], write: Write[Entry]
) -> tuple[bytes, dict[int, str]]:
    """Write `entries` by `write`, and return the fate of each, and the reasons of those that are `REFUSED`, by index.

    Raises what the database raises where the data is not at fault, and ServiceError where `MOST_REFUSED` in a row
    are refused: then something is wrong with the tables, and dead letters would hide it.
    """
    fates = bytearray()
    reasons: dict[int, str] = {}
    waiting = [_WHOLE] if entries else []
    in_a_row = 0
    while waiting:
        part = waiting.pop()
        try:
            with connection.begin_nested():
                fates[part] = write(connection, entries if part is _WHOLE else entries[part])
            in_a_row = 0
        except Exception as error:
            if not is_bad_data(error):
                raise
            fates = fates or bytearray(len(entries))
            start, stop, _ = part.indices(len(entries))
            if stop - start > 1:
                middle = (start + stop) // 2
                waiting += [slice(middle, stop), slice(start, middle)]
                continue
            fates[start] = REFUSED
            reasons[start] = _reason(error)
            in_a_row += 1
            if in_a_row >= MOST_REFUSED:
                raise ServiceError(
                    f"the database refuses everything, last with: {reasons[start]}; see what is wrong with its tables"
                ) from error
    return bytes(fates), reasons


def _reason(error: BaseException) -> str:
    """Return the first line of what the database said: the lines after it quote the data."""
    said = str(getattr(error, "orig", None) or error).strip()
    return said.splitlines()[0][:500] if said else type(error).__name__
