"""AT Protocol: a CAR in a file is indexed as one in memory is, by an index that stays small."""

import tracemalloc

import pytest

from producers.atproto.protocol.car import Bytes, CarError, CarReason, read_car
from producers.atproto.protocol.cids import cid_of
from producers.atproto.protocol.stored_car import StoredCar, read_stored_car
from tests.atproto_world import car, cbor, content, section
from tests.unit.test_atproto_car import GOOD, HEADER, ONE, REFUSED, TWO

CARS = ["repo_bsdmsjac7qp424cacihbdkwz.car", "repo_nqcnfmaijkpblruu3gbi5unr.car"]


def read(data: Bytes) -> StoredCar:
    return read_stored_car(data, max_bytes=10_000_000, max_blocks=1000)


@pytest.mark.parametrize("name", CARS)
def test_it_gives_the_same_blocks_as_the_index_in_memory(name: str) -> None:
    data = content(name)
    one, other = read_car(data, max_bytes=10**7, max_blocks=10**5), read(data)
    assert other.root == one.root
    assert {cid: other.get(cid) for cid in one.spans} == {cid: one.get(cid) for cid in one.spans}
    assert other.get(cid_of(b"another")) is None
    assert list(other.check_hashes()) == []


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_it_refuses_the_same_with_the_same_reason(data: bytes, reason: CarReason) -> None:
    with pytest.raises(CarError) as raised:
        read(data)
    assert raised.value.reason is reason


def test_of_a_block_that_is_there_twice_the_last_counts_and_both_are_compared() -> None:
    found = read(HEADER + section(cid_of(ONE), b"wrong") + section(cid_of(TWO), TWO) + section(cid_of(ONE), ONE))
    assert (found.get(cid_of(ONE)), len(found)) == (ONE, 3)
    with pytest.raises(CarError) as raised:
        list(found.check_hashes())
    assert raised.value.reason is CarReason.HASH


def test_a_block_that_was_changed_is_found() -> None:
    with pytest.raises(CarError, match="block_hash_wrong"):
        list(read(GOOD[:-1] + bytes([GOOD[-1] ^ 1])).check_hashes())


def test_the_index_takes_a_few_bytes_a_block() -> None:
    blocks = {cid_of(block): block for block in (cbor({"n": number}) for number in range(50_000))}
    data = car(next(iter(blocks)), blocks)
    tracemalloc.start()
    found = read_stored_car(data, max_bytes=len(data), max_blocks=len(blocks))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == len(blocks)
    assert most / len(blocks) < 48
