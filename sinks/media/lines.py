"""Slices of media into lines: what can't be taken is refused line by line."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from sinks.counting import require_countable
from sinks.lines import take_lines
from sinks.sink import Decoded, Record
from tallystick.contracts import media, slices
from tallystick.errors import ContractError

T = TypeVar("T")
UNREADABLE = "not a line of its topic"

_decode_id = msgspec.json.Decoder(media.MediumId).decode


class Place(msgspec.Struct, frozen=True, gc=False):
    """Of which medium and attempt a line is, and where it stands."""

    medium: str
    attempt: int
    position: int


def decode_lines(record: Record, read: Callable[[Place, bytes], T]) -> Decoded[T]:
    """Return what `read` makes of each line of a slice; where it raises, the line is refused, and no other.

    Raises ContractError where the record is no slice of a medium.
    """
    slice_ = slices.decode(record.value, record.headers)
    require_countable(slice_)
    require_medium(slice_.source, record.key)
    attempt = media.attempt_of(record.headers)
    return take_lines(
        slice_, lambda position, line: read(Place(slice_.source, attempt, position), line), unreadable=UNREADABLE
    )


def require_medium(medium: str, key: bytes) -> None:
    """Raise ContractError where `medium` is no id of one, or `key`, the record's, is another: order would be lost."""
    try:
        _decode_id(msgspec.json.encode(medium))
    except msgspec.DecodeError as error:
        raise ContractError(f"not of a medium: its source is {medium[:80]!r}, not 32 hexadecimal digits") from error
    if key != medium.encode():
        raise ContractError(f"not of a medium: the record's key is {key[:80]!r}, its source {medium}")
