"""In which form events stand in a log, and which framer cuts it into them. No I/O."""

import re
from enum import StrEnum

from producers.cowrie.lines import Framer
from producers.cowrie.objects import ObjectFramer
from producers.cowrie.scanning import Glued, Whole, find_end

PROBE_BYTES = 256 * 1024
"""So much of the beginning of a log decides about its form."""

_MAX_LOOKS = 20
_ARRAY = re.compile(rb"\s*\[\s*[{\]]")
_ONLY_BRACKET = re.compile(rb"\s*\[\s*\Z")
_PRETTY = re.compile(rb"\s*\{[ \t\r]*\n\s*\"")
_ONLY_BRACE = re.compile(rb"\s*\{\s*\Z")
_FIRST_ON_LINE = re.compile(rb"^[ \t]*\{", re.MULTILINE)
_BEHIND = re.compile(rb"[ \t\r]*+(.?)", re.DOTALL)


class Format(StrEnum):
    """The forms of a log; `auto` is whichever its beginning shows."""

    AUTO = "auto"
    LINES = "lines"
    PRETTY = "pretty"
    ARRAY = "array"


def detect(start: bytes) -> Format | None:
    """Return the form of a log that begins with `start`; None where that doesn't show.

    The first whole object decides: by what stands before, within and behind it. So a log that begins in the middle of
    one, as rotation leaves them, is recognised too.
    """
    if _ARRAY.match(start):
        return Format.ARRAY
    if _PRETTY.match(start):
        return Format.PRETTY
    at = 0
    for _ in range(_MAX_LOOKS):
        brace = _FIRST_ON_LINE.search(start, at)
        if brace is None:
            break
        found = find_end(start, brace.end() - 1)
        if isinstance(found, Whole) and (shown := _shown_by(start, brace.end() - 1, found.end)):
            return shown
        # Of an object that swallowed another, the inner one tells more.
        at = found.start if isinstance(found, Glued) else found.end if isinstance(found, Whole) else brace.end()
    return None


def guess(content: bytes) -> Format:
    """Return the form of a log whose `content` shows none: one that has only just begun, or that holds no event."""
    if _ONLY_BRACKET.match(content):
        return Format.ARRAY
    return Format.PRETTY if _ONLY_BRACE.match(content) else Format.LINES


def _shown_by(start: bytes, first: int, end: int) -> Format | None:
    behind = _BEHIND.match(start, end)
    mark = behind[1] if behind else b""
    if mark == b",":
        return Format.ARRAY
    if b"\n" in start[first:end] or mark == b"{":
        return Format.PRETTY
    return Format.LINES if mark == b"\n" else None


def make_framer(form: Format, position: int, *, max_line_bytes: int) -> Framer | ObjectFramer:
    """Return the framer of a log of `form` that is read from `position` on."""
    match form:
        case Format.PRETTY:
            return ObjectFramer(position, max_line_bytes=max_line_bytes, place="row")
        case Format.ARRAY:
            return ObjectFramer(position, max_line_bytes=max_line_bytes, place="unknown" if position else "before")
    return Framer(position, max_line_bytes=max_line_bytes)
