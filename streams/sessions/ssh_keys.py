"""SSH public keys in the text of a command: those that it would add to somebody's `authorized_keys`.

All of it is attacker-controlled, so every search is bounded: the time is linear in the text, of which only the first
`MAX_SEARCHED_CHARS` characters are looked at.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_SEARCHED_CHARS = 65_536
MAX_KEYS = 64
"""So many keys of one command are taken."""
MAX_BLOB_CHARS = 2_800
"""The base64 of an RSA key of 16,384 bits, the longest that OpenSSH takes, is shorter."""
MAX_COMMENT_CHARS = 128
MAX_PATH_CHARS = 128

_FIELDS = {
    "ssh-rsa": 3,
    "ssh-dss": 5,
    "ssh-ed25519": 2,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "sk-ssh-ed25519@openssh.com": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
}
"""How many strings a key of each type consists of in its wire format, its type being the first."""

_NAME = "authorized_keys"
_HINTS = (_NAME, "base64", "ssh-", "ecdsa-", "\\x", "\\1")
_DEPTH = 2

_TYPE = f"(?:{'|'.join(map(re.escape, _FIELDS))})"
_KEY = re.compile(
    rf"({_TYPE})[ \t]{{1,8}}(AAAA[A-Za-z0-9+/]{{16,{MAX_BLOB_CHARS}}}+(?![A-Za-z0-9+/])={{0,2}})"
    rf"(?:[ \t]{{1,8}}((?:(?!{_TYPE}[ \t])[^\n\r\"'`;&|<>\\()]){{0,{MAX_COMMENT_CHARS}}}))?"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|(0?[0-7]{1,3})|([ntr])|(\n))")
_NAMED_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_QUOTES = str.maketrans("", "", "\"'\\")
_PATH_ENDS = re.compile(r"[\s\"'`;&|<>()]")


class InjectedKey(NamedTuple):
    """One public key. `blob` is the base64 of its content, in the one form that base64 has for it.

    `complete` says whether the blob is a whole key of its type; one that was cut short has no `bits`. `method` is how
    it was written: direct_echo, printf, heredoc, base64_encoded, or script for anything else.
    """

    type: str
    blob: str
    fingerprint: str
    bits: int | None
    complete: bool
    comment: str
    method: str
    path: str


def find_keys(text: str) -> tuple[InjectedKey, ...]:
    """Return the distinct keys that the command `text` would write to an `authorized_keys`, ordered by their blobs.

    They are found in echo, printf (with its escapes) and here-documents, behind quotes that are put together, in
    base64 that is decoded on the way, several in a line, and after options. Never raises for what the text holds.
    """
    text = text[:MAX_SEARCHED_CHARS]
    if not any(hint in text for hint in _HINTS):
        return ()
    found: dict[str, InjectedKey] = {}
    views = list(_views(text, _DEPTH if "base64" in text else 0))
    for view, decoded in views:
        for kind, padded, comment in _KEY.findall(view):
            blob = padded.rstrip("=")
            if blob not in found and len(found) < MAX_KEYS and (key := _read(kind, blob)):
                method = "base64_encoded" if decoded else _method(text)
                found[blob] = key._replace(comment=_clean(comment), method=method)
    if not found:
        return ()
    path = next((where for view, _ in views if (where := _path(view))), "")
    return tuple({key.blob: key._replace(path=path) for key in _whole(found)}.values()) if path else ()


def _views(text: str, depth: int) -> Iterator[tuple[str, bool]]:
    """Yield the forms that a shell makes of `text`, and whether base64 was decoded for it."""
    yield text, False
    plain = text
    if "\\" in text:
        plain = _ESCAPE.sub(_unescape, text)
        yield plain, False
    bare = plain.translate(_QUOTES)
    if bare != plain:
        yield bare, False
    if depth:
        for run in _BASE64.findall(bare):
            if not run.startswith("AAAA") and (content := _decode(run.rstrip("="))):
                for view, _ in _views(content.decode("utf-8", "replace"), depth - 1):
                    yield view, True


def _unescape(found: re.Match[str]) -> str:
    hexadecimal, octal, name, _ = found.groups()
    if hexadecimal:
        return chr(int(hexadecimal, 16))
    if octal:
        return chr(int(octal, 8) & 0xFF)
    return _NAMED_ESCAPES.get(name or "", "")


def _whole(found: dict[str, InjectedKey]) -> Iterator[InjectedKey]:
    """Yield the keys without those that are only the beginning of another one, which quotes had cut into pieces."""
    ordered = sorted(found)
    for blob, after in zip(ordered, [*ordered[1:], ""], strict=True):
        if not after.startswith(blob):
            yield found[blob]


def _method(text: str) -> str:
    if "<<" in text:
        return "heredoc"
    if "printf" in text:
        return "printf"
    return "direct_echo" if "echo" in text else "script"


def _clean(comment: str) -> str:
    return "".join(character if character.isprintable() else " " for character in comment).strip()


def _path(view: str) -> str:
    place = view.find(_NAME)
    if place < 0:
        return ""
    before = _PATH_ENDS.split(view[max(0, place - MAX_PATH_CHARS) : place])[-1]
    return _clean(before + _PATH_ENDS.split(view[place : place + len(_NAME) + 1])[0])


def _decode(blob: str) -> bytes | None:
    try:
        return base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True)
    except binascii.Error:
        return None


def _read(kind: str, blob: str) -> InjectedKey | None:
    """Return the key, None where the blob is no base64 or begins with another type than it is said to be."""
    content = _decode(blob)
    if content is None or _string(content, 0) != kind.encode():
        return None
    fields = _fields(content)
    bits = _bits(kind, fields) if fields else None
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return InjectedKey(kind, base64.b64encode(content).decode(), f"SHA256:{digest}", bits, bits is not None, "", "", "")


def _string(content: bytes, start: int) -> bytes | None:
    """Return the string of the wire format at `start`: its length in 4 bytes, then itself. None where it is cut."""
    size = int.from_bytes(content[start : start + 4])
    found = content[start + 4 : start + 4 + size]
    return found if start + 4 <= len(content) and len(found) == size else None


def _fields(content: bytes) -> list[bytes]:
    """Return all strings of a blob; none where the last one is cut, or there are more than any key has."""
    fields: list[bytes] = []
    start = 0
    while start < len(content):
        field = _string(content, start)
        if field is None or len(fields) == max(_FIELDS.values()):
            return []
        fields.append(field)
        start += 4 + len(field)
    return fields


def _bits(kind: str, fields: list[bytes]) -> int | None:
    """Return the size of a key, None where its fields are not those of its type."""
    if len(fields) != _FIELDS[kind]:
        return None
    if kind in {"ssh-rsa", "ssh-dss"}:
        return int.from_bytes(fields[2 if kind == "ssh-rsa" else 1]).bit_length() or None
    if "ed25519" in kind:
        return 256 if len(fields[1]) == 32 else None
    curve = kind.partition("nistp")[2][:3]
    return int(curve) if fields[1] == f"nistp{curve}".encode() and fields[2] else None
