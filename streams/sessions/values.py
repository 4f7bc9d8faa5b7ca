"""Single values of an event in the form in which a session holds them; None or empty where they can't be used."""

import math

from streams.sessions.events import Event
from tallystick.contracts.cowrie import MAX_NAME_CHARS, First
from tallystick.contracts.text import printable

_MAX_PORT = 65_535
_MAX_WHOLE = 2**53


def earlier(first: First | None, at: str, value: str | int | None) -> First | None:
    """Return whichever is the earlier of `first` and `value` at the time `at`; None and empty text are no values."""
    if value is None or value == "" or (first is not None and (first.at, first.value) <= (at, value)):
        return first
    return First(at, value)


def fit(text: str | None, most: int = MAX_NAME_CHARS) -> tuple[str, int]:
    """Return storable text of up to `most` characters, and by how many it was cut. A missing text is an empty one."""
    if not text:
        return "", 0
    text = printable(text)
    return (text, 0) if len(text) <= most else (text[:most], len(text) - most)


def port(value: int | None) -> int | None:
    """Return `value` where it is a number that a port can have; 0 is one."""
    return value if value is not None and 0 <= value <= _MAX_PORT else None


def whole(value: int | None) -> int | None:
    """Return `value` where every reader of JSON can hold it exactly and it is not negative."""
    return value if value is not None and 0 <= value <= _MAX_WHOLE else None


def milliseconds(event: Event) -> int | None:
    """Return an event's duration: `duration_ms`, or `duration` in seconds as older versions write it, even as text."""
    value, scale = (event.duration, 1000) if event.duration_ms is None else (event.duration_ms, 1)
    try:
        duration = float(value or 0) * scale
    except (ValueError, OverflowError):
        return None
    return whole(round(duration)) if value is not None and math.isfinite(duration) else None


def file_name(event: Event) -> str:
    """Return the base name of a file: what the attacker called it, else the name that the honeypot stored it under."""
    path = event.filename or event.destfile or event.outfile or ""
    return path.rstrip("/").rpartition("/")[2]
