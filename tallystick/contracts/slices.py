"""The slice: one Kafka record with one or more consecutive events of one key from one source, in order.

Value: the events as they were read, one a line (so an event never holds a line end). Headers:

| header      | content                                                                                            |
|-------------|----------------------------------------------------------------------------------------------------|
| `source`    | the source's id, ASCII                                                                             |
| `position`  | position of the first event in the source, decimal                                                 |
| `low`       | decimal; every event of this source below this position was sent before this record                |
| `positions` | only where there is more than one event: u32 little-endian each, position minus `low`              |
| `schema`    | name and version of the events' format, such as `cowrie/1`                                         |
| `letter`    | only in a retry (`contracts/retries.py`): the dead letter that the one event answers               |
| `zone`      | only where it isn't UTC: IANA name of the zone that timestamps without one are in, ASCII            |
| `attempt`   | only of media (`contracts/media.py`): the attempt that the events are of, decimal                  |

`low` is what lets an observer count each event of a source once, however often it is sent, although slices of one
read window overlap in position: below `low` nothing new can come.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo

import msgspec

from tallystick.contracts.timestamps import zone_named
from tallystick.errors import ContractError

Headers = list[tuple[str, str | bytes | None]]
"""A record's headers as both Kafka clients give and take them."""


class Slice(msgspec.Struct, frozen=True, gc=False):
    """A decoded slice. `events[i]` stands at `positions[i]` of `source`; times without a zone are in `zone`."""

    source: str
    low: int
    positions: Sequence[int]
    events: list[bytes]
    zone: tzinfo = UTC


def encode(
    source: bytes, schema: bytes, low: int, positions: Sequence[int], events: Sequence[bytes], zone: bytes = b""
) -> tuple[bytes, Headers]:
    """Return value and headers of the record that carries `events`. `source`, `schema` and `zone` are ASCII.

    `zone` is the IANA name of the time zone of timestamps that name none; empty for UTC.

    `positions` ascend, start at or above `low` and stay within 4 GiB of it.
    """
    headers: Headers = [
        ("source", source),
        ("position", b"%d" % positions[0]),
        ("low", b"%d" % low),
        ("schema", schema),
    ]
    if zone:
        headers.append(("zone", zone))
    if len(events) == 1:
        return events[0], headers
    offsets = array("I", [position - low for position in positions])
    if sys.byteorder == "big":
        offsets.byteswap()
    headers.append(("positions", offsets.tobytes()))
    return b"\n".join(events), headers


def decode(value: bytes | None, headers: Iterable[tuple[str, bytes | str | None]] | None) -> Slice:
    """Return the slice that `encode` made a record of.

    Raises ContractError where a header is missing or malformed, or positions and events differ in number.
    """
    found = dict(headers or ())
    try:
        source, low = found["source"], int(found["low"] or b"")
        packed = found.get("positions")
        zone = _zone(found["zone"]) if "zone" in found else UTC
        if not isinstance(source, bytes) or value is None:
            raise ValueError("source or value is missing")
        if packed is None:
            return Slice(source.decode("ascii"), low, (int(found["position"] or b""),), [value], zone)
        if not isinstance(packed, bytes):
            raise ValueError("positions are not bytes")
        offsets = array("I", packed)
        if sys.byteorder == "big":
            offsets.byteswap()
        events = value.split(b"\n")
        if len(events) != len(offsets):
            raise ValueError(f"{len(offsets)} positions for {len(events)} events")
        return Slice(source.decode("ascii"), low, [low + offset for offset in offsets], events, zone)
    except (KeyError, ValueError) as error:
        raise ContractError(f"not a slice: {error!r}; headers are {sorted(found)}") from error


def _zone(name: bytes | str | None) -> tzinfo:
    if not isinstance(name, bytes):
        raise ValueError("zone is not bytes")
    return zone_named(name.decode("ascii"))


def source_of(headers: Iterable[tuple[str, bytes | str | None]] | None) -> str | None:
    """Return the source of a slice without decoding it; None where the header is missing or malformed."""
    for name, value in headers or ():
        if name == "source":
            return value.decode("ascii") if isinstance(value, bytes) and value.isascii() else None
    return None
