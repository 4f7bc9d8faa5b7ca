"""A Merkle search tree of which only a part is known, as the blocks of a commit are: lookups, changes, and undoing ops.

Nodes are read when they are needed, and hashed anew where something changed. Undone, the ops of an honest commit lead
to the tree of the commit before ("Inductive Firehose": https://atproto.com/specs/sync#commit-validation-mst-inversion).
"""

from bisect import bisect_left
from dataclasses import dataclass

from producers.atproto.protocol.cids import Cid, cid_of
from producers.atproto.protocol.faults import shown
from producers.atproto.protocol.mst import (
    EMPTY_TREE,
    Blocks,
    MstError,
    MstReason,
    Node,
    check_layer,
    encode_node,
    layer_of,
    load_node,
)


@dataclass(slots=True)
class _Open:
    """A node in memory: n keys with their values, and n + 1 subtrees around them. `cid` is None once it changed."""

    layer: int
    keys: list[bytes]
    values: list[Cid]
    subtrees: "list[_Open | Cid | None]"
    cid: Cid | None = None


class Tree:
    """A tree by its root. Every method raises MstError where a node is missing or malformed."""

    def __init__(self, root: Cid, blocks: Blocks) -> None:
        self._blocks = blocks
        self._root = self._load(root, None)

    def find(self, key: bytes) -> Cid | None:
        """Return the CID of the record at `key`; None is proof that there is none."""
        layer = layer_of(key)
        if layer > self._root.layer:
            return None
        node = self._root
        while True:
            at = bisect_left(node.keys, key)
            if at < len(node.keys) and node.keys[at] == key:
                return node.values[at]
            if layer == node.layer or (below := self._open(node, at)) is None:
                return None
            node = below

    def replace(self, key: bytes, value: Cid) -> None:
        """Give a key that is there another record."""
        layer, node = layer_of(key), self._root
        while True:
            node.cid = None
            at = bisect_left(node.keys, key)
            if at < len(node.keys) and node.keys[at] == key:
                node.values[at] = value
                return
            if layer >= node.layer or (below := self._open(node, at)) is None:
                raise MstError(MstReason.ABSENT, shown(key))
            node = below

    def insert(self, key: bytes, value: Cid) -> None:
        """Add a key that isn't there."""
        layer, root = layer_of(key), self._root
        if not root.keys:
            self._root = _Open(layer, [key], [value], [None, None])
        elif layer > root.layer:
            sides = [_lifted(side, layer - 1) for side in self._split(root, key)]
            self._root = _Open(layer, [key], [value], [*sides])
        else:
            self._insert(root, key, value, layer)

    def remove(self, key: bytes) -> None:
        """Take a key away that is there."""
        if layer_of(key) > self._root.layer:
            raise MstError(MstReason.ABSENT, shown(key))
        root = self._remove(self._root, key)
        while root is not None and not root.keys:
            root = self._open(root, 0)
        self._root = root or _Open(0, [], [], [None])

    def root(self) -> Cid:
        """Return the CID of the tree as it is now."""
        return self._close(self._root)

    def _insert(self, node: _Open, key: bytes, value: Cid, layer: int) -> None:
        node.cid = None
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            raise MstError(MstReason.PRESENT, shown(key))
        below = self._open(node, at)
        if layer == node.layer:
            node.subtrees[at : at + 1] = self._split(below, key) if below else (None, None)
            node.keys.insert(at, key)
            node.values.insert(at, value)
        elif below is None:
            node.subtrees[at] = _lifted(_Open(layer, [key], [value], [None, None]), node.layer - 1)
        else:
            self._insert(below, key, value, layer)

    def _remove(self, node: _Open, key: bytes) -> _Open | None:
        """Return what is left of the node, if anything is."""
        node.cid = None
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            del node.keys[at], node.values[at]
            node.subtrees[at : at + 2] = [self._merge(self._open(node, at), self._open(node, at + 1))]
        elif (below := self._open(node, at)) is None:
            raise MstError(MstReason.ABSENT, shown(key))
        else:
            node.subtrees[at] = self._remove(below, key)
        return node if node.keys or node.subtrees[0] is not None else None

    def _split(self, node: _Open, key: bytes) -> tuple[_Open | None, _Open | None]:
        """Return the parts of a subtree before and behind a key that is not in it."""
        at = bisect_left(node.keys, key)
        below = self._open(node, at)
        left, right = self._split(below, key) if below else (None, None)
        before = _Open(node.layer, node.keys[:at], node.values[:at], [*node.subtrees[:at], left])
        behind = _Open(node.layer, node.keys[at:], node.values[at:], [right, *node.subtrees[at + 1 :]])
        return _unless_empty(before), _unless_empty(behind)

    def _merge(self, left: _Open | None, right: _Open | None) -> _Open | None:
        """Return two neighbouring subtrees of one layer as one."""
        if left is None or right is None:
            return left or right
        middle = self._merge(self._open(left, -1), self._open(right, 0))
        return _Open(
            left.layer,
            left.keys + right.keys,
            left.values + right.values,
            [*left.subtrees[:-1], middle, *right.subtrees[1:]],
        )

    def _open(self, node: _Open, at: int) -> _Open | None:
        below = node.subtrees[at]
        if isinstance(below, bytes):
            below = node.subtrees[at] = self._load(below, node.layer - 1)
        return below

    def _load(self, cid: Cid, layer: int | None) -> _Open:
        node = load_node(cid, self._blocks)
        return _Open(check_layer(node, layer), node.keys, node.values, [*node.links], cid)

    def _close(self, node: _Open) -> Cid:
        if node.cid is None:
            links = [self._close(below) if isinstance(below, _Open) else below for below in node.subtrees]
            node.cid = cid_of(encode_node(Node(node.keys, node.values, links)))
        return node.cid


def _unless_empty(node: _Open) -> _Open | None:
    return node if node.keys or node.subtrees[0] is not None else None


def _lifted(node: _Open | None, layer: int) -> _Open | None:
    """Return a subtree with nodes above it that have no keys, up to `layer`."""
    while node is not None and node.layer < layer:
        node = _Open(node.layer + 1, [], [], [node])
    return node


def build(records: dict[bytes, Cid]) -> Cid:
    """Return the root of the tree of all `records`."""
    tree = Tree(EMPTY_TREE, {EMPTY_TREE: encode_node(Node([], [], [None]))}.get)
    for key, value in records.items():
        tree.insert(key, value)
    return tree.root()
