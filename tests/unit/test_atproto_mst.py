"""AT Protocol: trees have one form, known answers agree, and what is no tree is refused with a reason."""

from itertools import pairwise

import pytest

from producers.atproto.protocol.cids import Cid, cid_from_text, cid_of, cid_text
from producers.atproto.protocol.mst import EMPTY_TREE, MstError, MstReason, decode_node, encode_node, layer_of, walk
from producers.atproto.protocol.trees import Tree, build
from tests.atproto_world import cbor, node, tree_by_the_book

# Known answers of the protocol's own implementations.
LEAF = cid_from_text("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454")
LAYERS = [
    (b"", 0),
    (b"asdf", 0),
    (b"blue", 1),
    (b"2653ae71", 0),
    (b"88bfafc7", 2),
    (b"2a92d355", 4),
    (b"884976f5", 6),
    (b"app.bsky.feed.post/454397e440ec", 4),
    (b"app.bsky.feed.post/9adeb165882c", 8),
]
ROOTS = [
    pytest.param([], "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm", id="no record"),
    pytest.param(["3jqfcqzm3fo2j"], "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu", id="one"),
    pytest.param(["3jqfcqzm3fx2j"], "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai", id="one in layer 2"),
    pytest.param(
        ["3jqfcqzm3fp2j", "3jqfcqzm3fr2j", "3jqfcqzm3fs2j", "3jqfcqzm3ft2j", "3jqfcqzm4fc2j"],
        "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m",
        id="five in two layers",
    ),
]


@pytest.mark.parametrize(("key", "layer"), LAYERS)
def test_a_key_lies_in_its_layer(key: bytes, layer: int) -> None:
    assert layer_of(key) == layer


@pytest.mark.parametrize(("keys", "root"), ROOTS)
def test_records_have_the_root_that_is_known(keys: list[str], root: str) -> None:
    records = {f"com.example.record/{key}".encode(): LEAF for key in keys}
    assert cid_text(build(records)) == root
    assert cid_text(tree_by_the_book(records)[0]) == root


# Keys by layer, to make trees by hand: found by search.
LOW = [key for number in range(40) if layer_of(key := b"a.b.c/%03d" % number) == 0]
MID = [key for number in range(400) if layer_of(key := b"a.b.c/%03d" % number) == 1]
HIGH = [key for number in range(4000) if layer_of(key := b"a.b.c/%04d" % number) == 2]


def entry(key: bytes, right: Cid | None = None, p: int = 0) -> tuple[int, bytes, Cid, Cid | None]:
    return (p, key, LEAF, right)


def raw(entries: object, left: object = None) -> bytes:
    return cbor({"e": entries, "l": left})


LINK = cid_of(b"elsewhere")
MALFORMED = [
    pytest.param(b"", MstReason.NODE, id="nothing"),
    pytest.param(cbor([]), MstReason.NODE, id="a list"),
    pytest.param(cbor({"l": None}), MstReason.NODE, id="no entries"),
    pytest.param(raw([], b"no cid"), MstReason.NODE, id="a left that is no CID"),
    pytest.param(raw([{"p": 0, "k": LOW[0], "v": None}]), MstReason.NODE, id="no value"),
    pytest.param(raw([{"p": 0, "k": LOW[0], "v": b"x"}]), MstReason.NODE, id="a value that is no CID"),
    pytest.param(raw([{"p": 0, "k": LOW[0], "v": LEAF, "t": b"x"}]), MstReason.NODE, id="a subtree that is no CID"),
    pytest.param(raw([{"p": 9, "k": LOW[0], "v": LEAF}]), MstReason.NODE, id="a prefix of nothing"),
    pytest.param(raw([{"p": -1, "k": LOW[0], "v": LEAF}]), MstReason.NODE, id="a negative prefix"),
    pytest.param(raw([{"p": 2**63, "k": LOW[0], "v": LEAF}]), MstReason.NODE, id="a prefix past 64 bits"),
    pytest.param(raw([{"p": 0, "k": "a.b.c/d", "v": LEAF}]), MstReason.NODE, id="a key that is text"),
    pytest.param(node(None, entry(b"no path")), MstReason.KEY, id="a key that is no path"),
    pytest.param(node(None, entry(b"a.b.c/\xff")), MstReason.KEY, id="a key that is not ASCII"),
    pytest.param(node(None, entry(b"a.b.c/" + b"x" * 513)), MstReason.KEY, id="a key that is too long"),
    pytest.param(node(None, entry(LOW[1]), entry(LOW[0])), MstReason.ORDER, id="keys that descend"),
    pytest.param(node(None, entry(LOW[0]), entry(b"", p=len(LOW[0]))), MstReason.ORDER, id="a key twice"),
]


@pytest.mark.parametrize(("block", "reason"), MALFORMED)
def test_what_is_no_node_is_refused(block: bytes, reason: MstReason) -> None:
    with pytest.raises(MstError) as raised:
        decode_node(block)
    assert raised.value.reason is reason


def test_a_node_is_encoded_as_it_was() -> None:
    block = node(LINK, entry(LOW[0], LINK), entry(LOW[1][-1:], p=len(LOW[1]) - 1))
    assert encode_node(decode_node(block)) == block


def walked(root: bytes, *others: bytes, aliases: dict[Cid, bytes] | None = None) -> list[str]:
    blocks = {cid_of(block): block for block in (root, *others)} | (aliases or {})
    return [path for path, _ in walk(cid_of(root), blocks.get, max_nodes=50)]


def test_a_walk_yields_the_paths_in_order() -> None:
    records = dict.fromkeys([*LOW, *MID, *HIGH], LEAF)
    root, blocks = tree_by_the_book(records)
    assert [path.encode() for path, _ in walk(root, blocks.get, max_nodes=1000)] == sorted(records)


def cycle() -> tuple[bytes, dict[Cid, bytes]]:
    """Return a node that is its own subtree: possible only where nobody compares hashes."""
    upper = node(LINK, entry(HIGH[0]))
    return upper, {LINK: upper}


def chain(length: int) -> tuple[bytes, dict[Cid, bytes]]:
    """Return a root over a chain of nodes without keys."""
    links = [cid_of(b"%d" % number) for number in range(length)]
    return node(links[0], entry(HIGH[0])), {link: node(below) for link, below in pairwise(links)}


LEAF_NODE = node(None, entry(LOW[0]))
WRONG = [
    pytest.param((node(LINK, entry(MID[0])),), {}, MstReason.MISSING, id="a node that is missing"),
    pytest.param((cycle()[0],), cycle()[1], MstReason.LAYER, id="a node within itself"),
    pytest.param((chain(60)[0],), chain(60)[1], MstReason.LAYER, id="a chain deeper than its layer"),
    pytest.param((node(cid_of(LEAF_NODE)), LEAF_NODE), {}, MstReason.LAYER, id="a root without keys"),
    pytest.param((node(None, entry(LOW[0]), entry(MID[0])),), {}, MstReason.LAYER, id="keys of two layers"),
    pytest.param((node(LINK, entry(MID[0])),), {LINK: node(None)}, MstReason.LAYER, id="an empty node below the root"),
    pytest.param((node(LINK, entry(LOW[0])),), {}, MstReason.LAYER, id="a layer below the lowest"),
    pytest.param(
        (node(cid_of(LEAF_NODE), entry(MID[-1], cid_of(LEAF_NODE))), LEAF_NODE), {}, MstReason.CYCLE, id="a node twice"
    ),
    pytest.param(
        (node(None, entry(MID[0], LINK)),), {LINK: node(None, entry(LOW[0]))}, MstReason.ORDER, id="a subtree too small"
    ),
]


@pytest.mark.parametrize(("nodes", "aliases", "reason"), WRONG)
def test_what_is_no_tree_is_refused(nodes: tuple[bytes, ...], aliases: dict[Cid, bytes], reason: MstReason) -> None:
    with pytest.raises(MstError) as raised:
        walked(*nodes, aliases=aliases)
    assert raised.value.reason is reason


def test_a_tree_of_more_nodes_than_may_be_is_refused() -> None:
    root, blocks = tree_by_the_book(dict.fromkeys([*LOW, *MID, *HIGH], LEAF))
    with pytest.raises(MstError) as raised:
        list(walk(root, blocks.get, max_nodes=5))
    assert raised.value.reason is MstReason.TOO_LARGE


def tree() -> Tree:
    root, blocks = tree_by_the_book(dict.fromkeys([*LOW[1:], *MID[1:]], LEAF))
    return Tree(root, blocks.get)


def test_a_lookup_finds_what_is_there_and_proves_what_is_not() -> None:
    assert tree().find(LOW[1]) == LEAF
    for absent in (LOW[0], MID[0], HIGH[0]):
        assert tree().find(absent) is None


@pytest.mark.parametrize("key", [LOW[0], MID[0], HIGH[0]], ids=["low", "in the layer of the root", "above the root"])
def test_a_key_that_is_absent_can_neither_be_removed_nor_replaced(key: bytes) -> None:
    with pytest.raises(MstError, match=MstReason.ABSENT.value):
        tree().remove(key)
    with pytest.raises(MstError, match=MstReason.ABSENT.value):
        tree().replace(key, LINK)


@pytest.mark.parametrize("key", [LOW[1], MID[1]], ids=["low", "in the layer of the root"])
def test_a_key_that_is_there_can_not_be_inserted(key: bytes) -> None:
    with pytest.raises(MstError, match=MstReason.PRESENT.value):
        tree().insert(key, LINK)


def test_without_its_records_a_tree_is_the_empty_one() -> None:
    emptied = tree()
    for key in [*LOW[1:], *MID[1:]]:
        emptied.remove(key)
    assert emptied.root() == EMPTY_TREE
