"""The fields of a Cowrie event that a session is folded from, under their names in all versions."""

from collections.abc import Sequence
from datetime import UTC, tzinfo
from types import NoneType
from typing import get_args

import msgspec

from tallystick.contracts.cowrie import MAX_NAME_CHARS, UnreadableLine, parse_tolerantly, read_envelope
from tallystick.contracts.timestamps import are_canonical, canonical


class Event(msgspec.Struct, gc=False):
    """One event. Every field but the first may be missing; `read_event` tells the time.

    Fields stand in the order in which Cowrie writes them, which is the order that decodes fastest.
    """

    eventid: str
    protocol: str | None = None
    src_ip: str | None = None
    src_port: int | None = None
    dst_ip: str | None = None
    dst_port: int | None = None
    username: str | None = None
    password: str | None = None
    input: str | None = None
    version: str | None = None
    hassh: str | None = None
    arch: str | None = None
    fingerprint: str | None = None
    type: str | None = None
    url: str | None = None
    filename: str | None = None
    destfile: str | None = None
    outfile: str | None = None
    size: int | None = None
    shasum: str | None = None
    duration: int | float | str | None = None
    duration_ms: int | float | str | None = None
    timestamp: str | int | float | None = None
    time: str | int | float | None = None


_decode = msgspec.json.Decoder(Event).decode
_USABLE = {
    field.name: tuple(kind for kind in get_args(field.type) if kind is not NoneType)
    for field in msgspec.structs.fields(Event)
    if field.name not in {"eventid", "timestamp", "time"}
}


def read_event(line: bytes, zone: tzinfo = UTC) -> tuple[Event, str]:
    """Return the event of one line and its canonical time, by the rules of `read_envelope`.

    Fields of a type that can't be used are missing.
    Raises UnreadableLine where `read_envelope` does.
    """
    try:
        event = _decode(line)
        at = canonical(event.time if event.timestamp is None else event.timestamp, zone)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _read_tolerantly(line, zone)
    if _are_usual({event.eventid}):
        return event, at
    return _read_tolerantly(line, zone)


def read_events(lines: Sequence[bytes]) -> tuple[list[Event], Sequence[str]] | None:
    """Return what `read_event` does for each line, events and times apart, in less time; None where one is unusual.

    None says nothing about which line that is, nor that it is wrong: read them one by one.
    """
    try:
        events = list(map(_decode, lines))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    times = [event.timestamp for event in events]
    if are_canonical(times) and _are_usual({event.eventid for event in events}):
        return events, times
    return None


def _are_usual(names: set[str]) -> bool:
    text = "".join(names)
    if not (text.isascii() and text.isprintable()) or "" in names:
        return False
    return len(text) <= MAX_NAME_CHARS or max(map(len, names)) <= MAX_NAME_CHARS


def _read_tolerantly(line: bytes, zone: tzinfo) -> tuple[Event, str]:
    envelope = read_envelope(line, zone=zone)
    try:
        fields = parse_tolerantly(line)
    except UnreadableLine:
        # The envelope could be read without the field that stops the tolerant parser, such as a number of 5,000 digits.
        fields = {}
    event = Event(envelope.eventid)
    for name, kinds in _USABLE.items():
        value = fields.get(name)
        if isinstance(value, kinds) and not isinstance(value, bool):
            setattr(event, name, value)
    return event, envelope.timestamp
