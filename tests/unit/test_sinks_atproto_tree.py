"""The tree that the look rebuilds: the same as by the book, as in repositories of real servers, and as published."""

from random import Random

import pytest

from producers.atproto.protocol.car import read_car
from producers.atproto.protocol.cids import cid_of
from producers.atproto.protocol.cids import cid_text as text_of
from producers.atproto.protocol.commits import read_signed
from producers.atproto.protocol.mst import walk
from sinks.atproto.tree import Tree, cid_bytes, cid_text, layer_of, root_of
from tallystick.errors import ContractError
from tests.atproto_world import content, tree_by_the_book

VALUE = cid_of(b"a record")
EMPTY = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"


@pytest.mark.parametrize(
    ("path", "layer"),
    [
        (b"", 0),
        (b"blue", 1),
        (b"app.bsky.feed.post/454397e440ec", 4),
        (b"app.bsky.feed.post/9adeb165882c", 8),
    ],
)
def test_layers_are_those_of_the_specification(path: bytes, layer: int) -> None:
    assert layer_of(path) == layer


def test_without_records_there_is_the_root_that_every_empty_repository_has() -> None:
    assert root_of([]) == EMPTY


@pytest.mark.parametrize(
    ("paths", "root"),
    [
        pytest.param(
            ["com.example.record/3jqfcqzm3fo2j"],
            "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu",
            id="one record",
        ),
        pytest.param(
            ["com.example.record/3jqfcqzm3fx2j"],
            "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai",
            id="one record in a higher layer",
        ),
        pytest.param(
            [f"com.example.record/3jqfcqzm{end}2j" for end in ("3fp", "3fr", "3fs", "3ft", "4fc")],
            "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m",
            id="some records",
        ),
    ],
)
def test_roots_are_those_of_the_interoperability_tests(paths: list[str], root: str) -> None:
    value = cid_bytes("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454")
    assert root_of((path.encode(), value) for path in sorted(paths)) == root


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 300, 3_000])
def test_any_set_of_records_has_the_root_that_it_has_by_the_book(count: int) -> None:
    random = Random(count)
    records = {f"{random.choice('ab')}.c/{random.getrandbits(40):x}".encode(): cid_of(b"%d" % n) for n in range(count)}
    assert root_of(sorted(records.items())) == text_of(tree_by_the_book(records)[0])


@pytest.mark.parametrize("name", ["bsdmsjac7qp424cacihbdkwz", "nqcnfmaijkpblruu3gbi5unr"])
def test_repositories_of_a_real_server_have_the_root_that_their_accounts_signed(name: str) -> None:
    car = read_car(content(f"repo_{name}.car"), max_bytes=1_000_000, max_blocks=1000)
    root = read_signed(car.root, car).data
    found = list(walk(root, car.get, max_nodes=1000))
    assert len(found) >= 47
    assert root_of((path.encode(), value) for path, value in found) == text_of(root)


def test_what_is_out_of_order_or_comes_twice_is_refused() -> None:
    for second in (b"a/1", b"a/0"):
        tree = Tree()
        tree.add(b"a/1", VALUE)
        with pytest.raises(ContractError, match="order"):
            tree.add(second, VALUE)


@pytest.mark.parametrize(
    "text", ["", "bafy", "Qm" + "a" * 57, "b" + "1" * 58, "zafyreie5737gdxlw5i64vzichcalba3z2v5n6"]
)
def test_what_is_no_cid_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="not a CID"):
        cid_bytes(text)


def test_a_cid_comes_back_from_its_text() -> None:
    assert cid_bytes(cid_text(VALUE)) == VALUE
    assert cid_text(VALUE) == text_of(VALUE)
