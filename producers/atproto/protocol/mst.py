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
from libipld import encode_dag_cbor

from producers.atproto.protocol.cbor import CborError, decode, typed
from producers.atproto.protocol.cids import Cid, cid_of, cid_text, is_cid
from producers.atproto.protocol.faults import Refusal, shown

_PATH = re.compile(rb"[a-zA-Z0-9.-]{1,317}/[a-zA-Z0-9_~.:-]{1,512}")


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


class Node(msgspec.Struct, frozen=True):
    """A node: its n keys in order, the CIDs of their records, and n + 1 links to the subtrees around them."""

    keys: list[bytes]
    values: list[Cid]
    links: list[Cid | None]


Blocks = Callable[[Cid], bytes | None]
"""Gives a block by its CID, None where it isn't there."""


def layer_of(key: bytes) -> int:
    """Return the layer of a key."""
    digest = sha256(key).digest()
    if digest[0] >= 0x40:
        return 0
    return (256 - int.from_bytes(digest).bit_length()) // 2


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
    keys, before = [], b""
    for entry in raw.e:
        if not 0 <= entry.p <= len(before):
            raise MstError(MstReason.NODE, f"a prefix of {entry.p} bytes of a key of {len(before)}")
        key = before[: entry.p] + entry.k
        if not _PATH.fullmatch(key):
            raise MstError(MstReason.KEY, shown(key))
        if key <= before:
            raise MstError(MstReason.ORDER, f"{shown(key)} behind {shown(before)}")
        keys.append(key)
        before = key
    node = Node(keys, [entry.v for entry in raw.e], [raw.l, *(entry.t for entry in raw.e)])
    if not all(map(is_cid, (*node.values, *filter(None, node.links)))):
        raise MstError(MstReason.NODE, "a link is no CID")
    return node


def encode_node(node: Node) -> bytes:
    """Return the block of a node, every key without what it shares with the one before.

    No part of a key can be taken for a CID by the encoder, because a path has no control characters.
    """
    entries = []
    before = b""
    for key, value, right in zip(node.keys, node.values, node.links[1:], strict=True):
        shared = _shared(before, key)
        entries.append({"k": key[shared:], "p": shared, "t": right, "v": value})
        before = key
    return encode_dag_cbor({"e": entries, "l": node.links[0]})


def _shared(one: bytes, other: bytes) -> int:
    """Return how many bytes two keys have in common at their heads."""
    length = min(len(one), len(other))
    difference = int.from_bytes(one[:length]) ^ int.from_bytes(other[:length])
    return length - (difference.bit_length() + 7) // 8


EMPTY_TREE = cid_of(encode_node(Node([], [], [None])))
"""The root of a repository without records."""


def walk(root: Cid, blocks: Blocks, *, max_nodes: int) -> Iterator[tuple[str, Cid]]:
    """Yield every (path, CID of the record) in the order of the paths.

    Nothing is trusted: not that each node is there, nor that keys ascend and lie in their layer, nor that a node
    occurs only once, as it must in a tree. Raises MstError in the midst of it; what was yielded before stays true only
    if nothing is raised. Holds the nodes between the root and where it is.
    """
    return _walk(root, lambda cid: load_node(cid, blocks), max_nodes)


def walk_present(root: Cid, blocks: Blocks, *, max_nodes: int) -> Iterator[tuple[str, Cid]]:
    """Do the same for a part of a tree, such as what has changed since a revision: a subtree whose node is not there is
    passed over. Of what a node names that is there, the records may be missing too.
    """

    def load(cid: Cid) -> Node | None:
        return None if (block := blocks(cid)) is None else decode_node(block)

    return _walk(root, load, max_nodes)


def _walk(root: Cid, load: Callable[[Cid], Node | None], max_nodes: int) -> Iterator[tuple[str, Cid]]:
    seen: set[Cid] = set()
    before = b""
    # What is still to do: a subtree to enter, with its layer (None: yet unknown), or a record to yield, with its key.
    todo: list[tuple[Cid, int | None, bytes]] = [(root, None, b"")]
    while todo:
        cid, layer, key = todo.pop()
        if key:
            if key <= before:
                raise MstError(MstReason.ORDER, f"{shown(key)} behind {shown(before)}")
            before = key
            yield key.decode("ascii"), cid
            continue
        if cid in seen:
            raise MstError(MstReason.CYCLE, cid_text(cid))
        seen.add(cid)
        if len(seen) > max_nodes:
            raise MstError(MstReason.TOO_LARGE, f"more than {max_nodes} nodes")
        if (node := load(cid)) is None:
            continue
        below = check_layer(node, layer) - 1
        for key, value, link in zip(reversed(node.keys), reversed(node.values), reversed(node.links), strict=False):
            if link is not None:
                todo.append((link, below, b""))
            todo.append((value, None, key))
        if node.links[0] is not None:
            todo.append((node.links[0], below, b""))


def load_node(cid: Cid, blocks: Blocks) -> Node:
    """Return a node by its CID. Raises MstError, with `MISSING` where the block isn't there."""
    if (block := blocks(cid)) is None:
        raise MstError(MstReason.MISSING, cid_text(cid))
    return decode_node(block)


def check_layer(node: Node, expected: int | None) -> int:
    """Return the layer of a node, which is `expected` unless it is a root. Raises MstError where a key denies that.

    A root without keys is the top of a tree only where it has no left subtree either.
    """
    has_links = any(node.links)
    if expected is None:
        if not node.keys and has_links:
            raise MstError(MstReason.LAYER, "the root has no keys")
        expected = layer_of(node.keys[0]) if node.keys else 0
    elif not node.keys and not has_links:
        raise MstError(MstReason.LAYER, "a node below the root is empty")
    for key in node.keys:
        if layer_of(key) != expected:
            raise MstError(MstReason.LAYER, f"{shown(key)} in layer {expected}")
    if expected <= 0 and has_links:
        raise MstError(MstReason.LAYER, "there is a layer below the lowest")
    return expected
