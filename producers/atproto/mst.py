"""Merkle search trees: the nodes of a repository, and a walk from its root to every (path, CID).

A key lies in the layer that the zeros at the head of its SHA-256 tell, two bits each; a node holds keys of one layer
and, between them, links to the layer below. So a set of records has exactly one tree.
Source: https://atproto.com/specs/repository#mst-structure
"""

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from hashlib import sha256

import msgspec

from producers.atproto.cbor import CborError, decode, head, typed
from producers.atproto.cids import Cid, cid_of, cid_text, is_cid
from producers.atproto.faults import Refusal, shown

MAX_LAYER = 128
"""A SHA-256 has no more pairs of bits."""
_PATH = re.compile(rb"[a-zA-Z0-9.-]{1,317}/[a-zA-Z0-9_~.:-]{1,512}")
_LINK = b"\xd8\x2a\x58\x25\x00"
_NULL = b"\xf6"


class MstReason(StrEnum):
    """Why blocks are not taken as a tree."""

    NODE = "node_unreadable"
    KEY = "key_unusable"
    ORDER = "keys_out_of_order"
    LAYER = "key_in_wrong_layer"
    MISSING = "node_missing"
    CYCLE = "node_twice"
    TOO_LARGE = "tree_too_large"
    ABSENT = "key_absent"
    PRESENT = "key_present"


class MstError(Refusal[MstReason]):
    """Blocks are no tree, or not enough of one."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A key of a node, the CID of its record, and the subtree of the keys behind it."""

    key: bytes
    value: Cid
    right: Cid | None = None


class Node(msgspec.Struct, frozen=True):
    """A node: the subtree of the keys before all of its own, and its entries in order."""

    left: Cid | None
    entries: list[Entry]


Blocks = Callable[[Cid], bytes | None]
"""Gives a block by its CID, None where it isn't there."""


def layer_of(key: bytes) -> int:
    """Return the layer of a key."""
    return (256 - int.from_bytes(sha256(key).digest()).bit_length()) // 2


class _RawEntry(msgspec.Struct, gc=False):
    p: int
    k: bytes
    v: bytes
    t: bytes | None = None


class _RawNode(msgspec.Struct):
    e: list[_RawEntry]
    l: bytes | None = None  # noqa: E741


def decode_node(block: bytes) -> Node:
    """Return the node that a block is, its keys whole, valid and in order. Raises MstError."""
    try:
        raw = typed(decode(block), _RawNode)
    except (CborError, msgspec.ValidationError) as error:
        raise MstError(MstReason.NODE, str(error)[:200]) from error
    if raw.l is not None and not is_cid(raw.l):
        raise MstError(MstReason.NODE, f"l is no CID: {shown(raw.l)}")
    entries, before = [], b""
    for entry in raw.e:
        if not 0 <= entry.p <= len(before):
            raise MstError(MstReason.NODE, f"a prefix of {entry.p} bytes of a key of {len(before)}")
        key = before[: entry.p] + entry.k
        if not _PATH.fullmatch(key):
            raise MstError(MstReason.KEY, shown(key))
        if key <= before:
            raise MstError(MstReason.ORDER, f"{shown(key)} behind {shown(before)}")
        if not is_cid(entry.v) or (entry.t is not None and not is_cid(entry.t)):
            raise MstError(MstReason.NODE, f"no CID at {shown(key)}")
        entries.append(Entry(key, entry.v, entry.t))
        before = key
    return Node(raw.l, entries)


def encode_node(node: Node) -> bytes:
    """Return the block of a node: maps in canonical order, every key without what it shares with the one before."""
    parts = [b"\xa2\x61e", head(4, len(node.entries))]
    before = b""
    for entry in node.entries:
        shared = _shared(before, entry.key)
        rest = entry.key[shared:]
        parts += (
            b"\xa4\x61k",
            head(2, len(rest)),
            rest,
            b"\x61p",
            head(0, shared),
            b"\x61t",
            _link(entry.right),
            b"\x61v",
            _link(entry.value),
        )
        before = entry.key
    parts += (b"\x61l", _link(node.left))
    return b"".join(parts)


def _shared(one: bytes, other: bytes) -> int:
    """Return how many bytes two keys have in common at their heads."""
    length = min(len(one), len(other))
    difference = int.from_bytes(one[:length]) ^ int.from_bytes(other[:length])
    return length - (difference.bit_length() + 7) // 8


def _link(cid: Cid | None) -> bytes:
    return _NULL if cid is None else _LINK + cid


EMPTY_TREE = cid_of(encode_node(Node(None, [])))
"""The root of a repository without records."""


def walk(root: Cid, blocks: Blocks, *, max_nodes: int) -> Iterator[tuple[str, Cid]]:
    """Yield every (path, CID of the record) in the order of the paths.

    Nothing is trusted: not that each node is there, nor that keys ascend and lie in their layer, nor that a node
    occurs only once, as it must in a tree. Raises MstError in the midst of it; what was yielded before stays true only
    if nothing is raised. Holds the nodes between the root and where it is.
    """
    seen: set[Cid] = set()
    before = b""
    # What is still to do: a CID to enter together with its layer (None: yet unknown), or an entry to yield.
    todo: list[tuple[Cid, int | None] | Entry] = [(root, None)]
    while todo:
        item = todo.pop()
        if isinstance(item, Entry):
            if item.key <= before:
                raise MstError(MstReason.ORDER, f"{shown(item.key)} behind {shown(before)}")
            before = item.key
            yield item.key.decode("ascii"), item.value
            continue
        cid, layer = item
        if cid in seen:
            raise MstError(MstReason.CYCLE, cid_text(cid))
        seen.add(cid)
        if len(seen) > max_nodes:
            raise MstError(MstReason.TOO_LARGE, f"more than {max_nodes} nodes")
        node = load_node(cid, blocks)
        layer = check_layer(node, layer)
        for entry in reversed(node.entries):
            if entry.right is not None:
                todo.append((entry.right, layer - 1))
            todo.append(entry)
        if node.left is not None:
            todo.append((node.left, layer - 1))


def load_node(cid: Cid, blocks: Blocks) -> Node:
    """Return a node by its CID. Raises MstError, with `MISSING` where the block isn't there."""
    if (block := blocks(cid)) is None:
        raise MstError(MstReason.MISSING, cid_text(cid))
    return decode_node(block)


def check_layer(node: Node, expected: int | None) -> int:
    """Return the layer of a node, which is `expected` unless it is a root. Raises MstError where a key denies that.

    A root without keys is the top of a tree only where it has no left subtree either.
    """
    if expected is None:
        if not node.entries and node.left is not None:
            raise MstError(MstReason.LAYER, "the root has no keys")
        expected = layer_of(node.entries[0].key) if node.entries else 0
    elif not node.entries and node.left is None:
        raise MstError(MstReason.LAYER, "a node below the root is empty")
    for entry in node.entries:
        if layer_of(entry.key) != expected:
            raise MstError(MstReason.LAYER, f"{shown(entry.key)} in layer {expected}")
    if not expected and (node.left is not None or any(entry.right for entry in node.entries)):
        raise MstError(MstReason.LAYER, "there is a layer below the lowest")
    return expected
