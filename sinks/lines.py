"""Lines of a slice into entries: what can't be taken is refused line by line."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from sinks.sink import Decoded, Refusal
from tallystick.contracts.slices import Slice
from tallystick.errors import ContractError

T = TypeVar("T")


def take_lines(slice_: Slice, read: Callable[[int, bytes], T], *, unreadable: str) -> Decoded[T]:
    """Return what `read` makes of each position and line; where it raises DecodeError or ContractError, the line is
    refused as `unreadable`, and no other.
    """
    entries, contents, positions, refused = [], [], [], []
    for position, line in zip(slice_.positions, slice_.events, strict=True):
        try:
            entries.append(read(position, line))
        except (msgspec.DecodeError, ContractError) as error:
            refused.append(Refusal(position, line, unreadable, str(error)))
        else:
            contents.append(line)
            positions.append(position)
    return Decoded(
        entries=entries,
        contents=contents,
        source=slice_.source,
        low=slice_.low,
        positions=positions,
        refused=refused,
        passes=(slice_.source,),
    )
