"""AT Protocol: a CAR is indexed within bounds, and each block compared with its CID."""

import time

import pytest

from producers.atproto.protocol.car import MAX_BLOCK_BYTES, Car, CarError, CarReason, read_car
from producers.atproto.protocol.cids import RAW, cid_from_text, cid_of, cid_text
from tests.atproto_world import car, cbor, section, varint

ONE, TWO = cbor({"n": 1}), cbor({"n": 2})
BLOCKS = {cid_of(ONE): ONE, cid_of(TWO): TWO}
GOOD = car(cid_of(ONE), BLOCKS)
HEADER = GOOD[: GOOD.index(ONE) - 37]


def read(data: bytes) -> Car:
    return read_car(data, max_bytes=10_000_000, max_blocks=1000)


def test_a_car_gives_its_root_and_its_blocks_by_cid() -> None:
    found = read(GOOD)
    assert found.root == cid_of(ONE)
    assert {cid: found.get(cid) for cid in found.spans} == BLOCKS
    assert found.get(cid_of(b"another")) is None
    found.check_hashes()


def test_blocks_may_come_in_any_order_twice_and_unasked() -> None:
    found = read(HEADER + section(cid_of(TWO), TWO) + section(cid_of(ONE), ONE) + section(cid_of(TWO), TWO))
    assert found.get(cid_of(ONE)) == ONE
    found.check_hashes()


def header(value: object) -> bytes:
    raw = cbor(value)
    return varint(len(raw)) + raw


CID = cid_of(ONE)
REFUSED = [
    pytest.param(b"", CarReason.TRUNCATED, id="nothing"),
    pytest.param(b"\x00", CarReason.HEADER, id="an empty header"),
    pytest.param(b"\xff" * 20, CarReason.VARINT, id="a length without an end"),
    pytest.param(b"\xff\xff\xff\xff\x0f", CarReason.HEADER, id="a header of 4 GB"),
    pytest.param(b"\x20\xa2", CarReason.TRUNCATED, id="half a header"),
    pytest.param(header({"version": 2, "roots": [CID]}), CarReason.HEADER, id="version 2"),
    pytest.param(header({"version": 1}), CarReason.HEADER, id="no roots"),
    pytest.param(header({"version": 1, "roots": []}), CarReason.NO_ROOT, id="an empty list of roots"),
    pytest.param(header({"version": 1, "roots": [b"no"]}), CarReason.CID, id="a root that is no CID"),
    pytest.param(header([1]), CarReason.HEADER, id="a header that is no map"),
    pytest.param(HEADER + b"\x05abcde", CarReason.CID, id="a block shorter than a CID"),
    pytest.param(HEADER + section(b"\x12\x20" + CID[4:] + b"xx", ONE), CarReason.CID, id="a CIDv0"),
    pytest.param(HEADER + section(b"\x01\x71\x13\x20" + CID[4:], ONE), CarReason.CID, id="another hash"),
    pytest.param(HEADER + b"\x00", CarReason.CID, id="a block of nothing"),
    pytest.param(HEADER + varint(2**62) + CID, CarReason.TRUNCATED, id="a block longer than memory"),
    pytest.param(HEADER + section(CID, b"\0" * (MAX_BLOCK_BYTES + 1)), CarReason.BLOCK_TOO_LARGE, id="a large block"),
    pytest.param(
        HEADER + b"".join(section(cid_of(b"%d" % number), b"") for number in range(1001)),
        CarReason.TOO_MANY_BLOCKS,
        id="too many blocks",
    ),
    pytest.param(b"\0" * 10_000_001, CarReason.TOO_LARGE, id="too many bytes"),
]


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_what_is_no_car_is_refused_with_a_reason(data: bytes, reason: CarReason) -> None:
    with pytest.raises(CarError) as raised:
        read(data)
    assert raised.value.reason is reason


def test_exactly_as_many_blocks_as_may_be_are_taken() -> None:
    assert len(read_car(GOOD, max_bytes=len(GOOD), max_blocks=2).spans) == 2


@pytest.mark.parametrize("end", range(len(GOOD)))
def test_cut_off_anywhere_it_is_refused_or_lacks_whole_blocks(end: int) -> None:
    whole = {len(HEADER): 0, len(HEADER) + 37 + len(ONE): 1}
    if end in whole:
        assert len(read(GOOD[:end]).spans) == whole[end]
        return
    with pytest.raises(CarError) as raised:
        read(GOOD[:end])
    assert raised.value.reason in (CarReason.TRUNCATED, CarReason.HEADER)


def test_a_block_that_is_not_what_its_cid_says_is_named() -> None:
    data = bytearray(GOOD)
    data[-1] ^= 1
    found = read(bytes(data))
    with pytest.raises(CarError, match=cid_text(cid_of(TWO))) as raised:
        found.check_hashes()
    assert raised.value.reason is CarReason.HASH


def test_many_small_blocks_take_time_by_their_number_only() -> None:
    data = HEADER + b"".join(section(cid_of(bytes((i & 255, i >> 8))), b"\0") for i in range(50_000))
    started = time.process_time()
    assert len(read_car(data, max_bytes=2_000_000, max_blocks=50_000).spans) == 50_000
    assert time.process_time() - started < 5


def test_a_cid_is_the_same_as_bytes_and_as_text() -> None:
    text = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
    assert cid_text(cid_from_text(text)) == text
    assert cid_text(cid_from_text(cid_text(RAW + b"\7" * 32))) == cid_text(RAW + b"\7" * 32)


@pytest.mark.parametrize(
    "text",
    ["", "bafy", "QmY7Yh4UquoXHLPFo2XbhXkhBvFoPwmQUSa92pxnxjQuPU", "zdpuAyTBnYSugBZhqJuLsNpzjmAjSmxDqBbtAqXMtsvxiN2vL"],
)
def test_a_text_that_is_no_cid_of_the_protocol_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="CID"):
        cid_from_text(text)
