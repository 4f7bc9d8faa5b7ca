"""What cowrieprocessor stored of an event becomes the line that Cowrie wrote, as far as that can be known. No I/O.

Before it stored a command, the old tool put a harmless text in its place ("defanging") and added fields about it.
Where it kept the original and that fits the hash beside it, the original is put back and what was added goes. Then the
object is written as Cowrie writes it: on one line, without spaces, in the order of its fields. So an event that was not
altered otherwise has the bytes that it has in Cowrie's log, and is the same event.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from tallystick.contracts.cowrie import UnreadableLine, parse_tolerantly

_ANALYSIS, _SAFE, _ORIGINAL, _HASH = "command_analysis", "input_safe", "input_original", "input_hash"
_ADDED = frozenset({_ANALYSIS, _SAFE, _ORIGINAL, _HASH, "command_safe", "command_original"})
_DECODER = json.JSONDecoder()
_LONGEST_TEXT = 1024 * 1024
"""A longer text that was refused is not searched: the old tool gave up after 100 lines."""
_encode = json.JSONEncoder(separators=(",", ":")).encode
_CONTENTS = ("malformed_content", "_malformed_content")
"""Where the old tool kept the text that it could not read as an event."""


class Remains(msgspec.Struct, frozen=True):
    """What lies between the objects of a text that the old tool refused, such as half an object."""

    content: bytes


def event_lines(payload: bytes, *, most: int) -> list[bytes | Remains]:
    """Return the event in `payload` as one line without an end; what was no event to the old tool may be one to us.

    Of several lines that the old tool refused together, as it did with objects that are spread over lines, each object
    comes by itself, and what is between them, where there are no more than `most` parts in all.
    The same payload always gives the same lines.
    Raises UnreadableLine where there is no JSON object in it; a line that is returned may still be no event.
    """
    fields = _object(payload)
    content = next((fields[name] for name in _CONTENTS if isinstance(fields.get(name), str)), None)
    if content is None or "eventid" in fields:
        return [_written(restored(fields))]
    text: str = content.strip()
    if "\n" not in text:
        return [text.encode("utf-8", "surrogatepass")]
    parts = list(islice(_parts(text), most + 1)) if len(text) <= _LONGEST_TEXT else []
    if 0 < len(parts) <= most and not (len(parts) == 1 and isinstance(parts[0], Remains)):
        return parts
    raise UnreadableLine("not JSON", "several lines that are no single object")


def restored(event: dict[str, Any]) -> dict[str, Any]:
    """Return `event` with the command as it was typed and without what the old tool added; as it is where in doubt."""
    shown, original = event.get("input"), event.get(_ORIGINAL)
    if _ANALYSIS not in event or not isinstance(shown, str) or shown != event.get(_SAFE):
        return event
    if _HASH not in event and _ORIGINAL not in event:
        return {name: value for name, value in event.items() if name not in _ADDED}
    if not isinstance(original, str) or event.get(_HASH) != _digest(original):
        return event
    # The harmless text was put into both, and Cowrie itself writes no `command` beside an `input`.
    kept = {name: value for name, value in event.items() if name not in _ADDED and name != "command"}
    return {**kept, "input": original}


def _parts(text: str) -> Iterator[bytes | Remains]:
    """Yield the objects of `text` that begin where a line or an object ends, and what is between them, in order."""
    at = begun = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _decoded(text, at)
        if found is None:
            following = text.find("\n", at)
            at = len(text) if following < 0 else following + 1
            continue
        fields, end = found
        if between := text[begun:at].strip():
            yield Remains(between.encode("utf-8", "surrogatepass"))
        yield _written(fields)
        at = begun = end
    if rest := text[begun:].strip():
        yield Remains(rest.encode("utf-8", "surrogatepass"))


def _decoded(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """Return the object that begins at `at`, and where it ends."""
    if text[at] != "{":
        return None
    try:
        found, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    return found, end


def _object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in `payload`; some versions stored it as a text that holds JSON."""
    try:
        return parse_tolerantly(payload)
    except UnreadableLine:
        text = _text_within(payload)
        if text is None:
            raise
        return parse_tolerantly(text)


def _text_within(payload: bytes) -> bytes | None:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return found.encode("utf-8", "surrogatepass") if isinstance(found, str) else None


def _written(fields: dict[str, Any]) -> bytes:
    try:
        return _encode(fields).encode()
    except (ValueError, RecursionError) as error:
        raise UnreadableLine("nested too deep" if isinstance(error, RecursionError) else "not JSON") from error


def _digest(command: str) -> str:
    return hashlib.blake2b(command.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
