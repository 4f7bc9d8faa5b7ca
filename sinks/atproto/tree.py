"""The root of a repository's tree, made anew from its records alone: by the book, and by nobody else's code.

A key lies in the layer that the zero bits at the head of its SHA-256 tell, two each. A node holds keys of one layer
and, between them, links to the layer below; its block is DAG-CBOR, and its name the SHA-256 of that.
Source: https://atproto.com/specs/repository#mst-structure

Records come in the order of their paths, and of the tree only the nodes are held that are not finished: one a layer.
"""

import base64
from collections.abc import Iterable
from hashlib import sha256

from tallystick.errors import ContractError

_PREFIX = b"\x01\x71\x12\x20"
"""Of every CID of a block: version 1, DAG-CBOR, SHA-256, of 32 bytes."""
_CID_BYTES = 36
_CID_CHARS = 59
_SPARE = 0b11
"""58 digits hold two bits more than 36 bytes."""
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_DIGITS = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(byte)] if byte in _ALPHABET else ord("!") for byte in range(256)
)
"""From a digit of a CID to Python's of the same value; from what is none to what isn't there either."""
_NULL = b"\xf6"
_LINK = b"\xd8\x2a\x58\x25\x00"
"""A link in DAG-CBOR: tag 42, and 37 bytes, of which the first is zero."""


class _Node:
    """A node that is not finished: its entries as bytes, and what lies left of the first and right of the last."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.first: bytes | None = None
        self.last: tuple[bytes, bytes] | None = None
        """The last key and its value, of which the subtree to the right is not known yet."""
        self.right: bytes | None = None
        self._before = b""

    def hang(self, below: bytes | None) -> None:
        """Put the subtree `below` right of all that is there."""
        if self.last is None:
            self.first = below
        else:
            self.right = below

    def add(self, key: bytes, value: bytes) -> None:
        """Put a key right of all that is there."""
        self._finish()
        self.last = key, value

    def close(self) -> bytes | None:
        """Return the CID of the node, None where nothing is in it."""
        return None if self.last is None and self.first is None else self.cid()

    def cid(self) -> bytes:
        """Return the CID of the node as it is."""
        self._finish()
        block = b"\xa2\x61e" + _head(4, len(self.entries)) + b"".join(self.entries) + b"\x61l" + _link(self.first)
        return _PREFIX + sha256(block).digest()

    def _finish(self) -> None:
        if self.last is None:
            return
        key, value = self.last
        shared = _shared(self._before, key)
        rest = key[shared:]
        self.entries.append(
            b"\xa4\x61k"
            + _head(2, len(rest))
            + rest
            + b"\x61p"
            + _head(0, shared)
            + b"\x61t"
            + _link(self.right)
            + b"\x61v"
            + _link(value)
        )
        self._before, self.last, self.right = key, None, None


class Tree:
    """The tree of records that are added in the order of their paths."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = [_Node()]
        self._before = b""

    def add(self, path: bytes, value: bytes) -> None:
        """Add a record, by its path and its CID (36 bytes). Raises ContractError where it is out of order."""
        if path <= self._before:
            raise ContractError("records are not in the order of their paths")
        self._before = path
        layer = layer_of(path)
        while len(self._nodes) <= layer:
            self._nodes.append(_Node())
        node = self._nodes[layer]
        node.hang(self._close_below(layer))
        node.add(path, value)

    def root(self) -> str:
        """Return the CID of the tree, as text. Nothing can be added after that."""
        top = len(self._nodes) - 1
        node = self._nodes[top]
        node.hang(self._close_below(top))
        return cid_text(node.cid())

    def _close_below(self, layer: int) -> bytes | None:
        """Return the CID of the subtree that is open below `layer`, None where there is none, and begin a new one."""
        below: bytes | None = None
        for number in range(layer):
            node = self._nodes[number]
            node.hang(below)
            below = node.close()
            self._nodes[number] = _Node()
        return below


def root_of(records: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the root of the tree of `records`, paths and CIDs in the order of the paths. Raises ContractError."""
    tree = Tree()
    for path, value in records:
        tree.add(path, value)
    return tree.root()


def layer_of(path: bytes) -> int:
    """Return the layer in which a path lies."""
    return (256 - int.from_bytes(sha256(path).digest()).bit_length()) // 2


def cid_text(cid: bytes) -> str:
    """Return a CID as text."""
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def cid_bytes(text: str) -> bytes:
    """Return the 36 bytes of a CID. Raises ContractError where it is none of a block."""
    try:
        # The digits of base 32 as Python has them: a tenth of what `b32decode` takes, for each record of a repository.
        number = int(text[1:].encode("ascii").translate(_DIGITS), 32)
    except ValueError as error:
        raise ContractError(f"not a CID: {text[:80]!r}") from error
    if len(text) != _CID_CHARS or not text.startswith("b") or number & _SPARE:
        raise ContractError(f"not a CID: {text[:80]!r}")
    return (number >> 2).to_bytes(_CID_BYTES)


def _link(cid: bytes | None) -> bytes:
    return _NULL if cid is None else _LINK + cid


def _head(kind: int, number: int) -> bytes:
    """Return the head of a CBOR item: its major type, and its number in as few bytes as it takes."""
    major = kind << 5
    if number < 24:
        return bytes([major | number])
    for size, code in ((1, 24), (2, 25), (4, 26)):
        if number < 1 << 8 * size:
            return bytes([major | code]) + number.to_bytes(size)
    raise ContractError("a tree has a node of more entries than any block holds")


def _shared(one: bytes, other: bytes) -> int:
    """Return how many bytes two paths have in common at their heads."""
    length = min(len(one), len(other))
    differing = int.from_bytes(one[:length]) ^ int.from_bytes(other[:length])
    return length - (differing.bit_length() + 7) // 8
