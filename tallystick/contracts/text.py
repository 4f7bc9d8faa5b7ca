"""Text that every database can hold, what can't be stored becoming a visible escape; and one form for commands."""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return `text` with NUL and each lone surrogate written as six visible characters, such as `\u0000` or `\udcff`.

    All other text is returned as it is, control characters included. An invalid UTF-8 byte 0xNN that was decoded with
    `surrogateescape` is a lone surrogate and comes out as `\udcNN`.
    """
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def normalize(text: str) -> str:
    """Return `text` without whitespace at its ends, every other run of whitespace being one space."""
    return " ".join(text.split())
