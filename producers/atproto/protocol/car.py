"""CAR files (v1): where each block lies, without decoding any. One in a file is for `stored_car`.

A varint and a header {roots, version: 1}, then for each block a varint, its CID and its bytes, in any order.
Source: https://ipld.io/specs/transport/car/carv1/
"""

from enum import StrEnum
from hashlib import sha256
from mmap import mmap

import msgspec

from producers.atproto.protocol.cbor import CborError, decode, typed
from producers.atproto.protocol.cids import CID_BYTES, Cid, cid_text, is_cid
from producers.atproto.protocol.faults import Refusal, shown

MAX_BLOCK_BYTES = 2 * 1024 * 1024
MAX_SECTION_BYTES = MAX_BLOCK_BYTES + CID_BYTES
MAX_HEADER_BYTES = 4096
MAX_VARINT_BYTES = 9


Bytes = bytes | mmap
"""What a CAR may lie in."""


class CarReason(StrEnum):
    """Why bytes are not taken as a CAR."""

    TOO_LARGE = "car_too_large"
    TOO_MANY_BLOCKS = "too_many_blocks"
    BLOCK_TOO_LARGE = "block_too_large"
    TRUNCATED = "car_truncated"
    VARINT = "varint_unreadable"
    HEADER = "car_header_unreadable"
    NO_ROOT = "car_without_root"
    CID = "cid_unsupported"
    HASH = "block_hash_wrong"


class CarError(Refusal[CarReason]):
    """Bytes are no CAR, not one within bounds, or a block is not what its CID says."""


class Car(msgspec.Struct, frozen=True):
    """A CAR: its first root, and where each block begins and ends in `data`."""

    data: bytes
    root: Cid
    spans: dict[Cid, tuple[int, int]]

    def get(self, cid: Cid) -> bytes | None:
        """Return a block, or None where the CAR doesn't have it."""
        if (span := self.spans.get(cid)) is None:
            return None
        return self.data[span[0] : span[1]]

    def check_hashes(self) -> None:
        """Compare the SHA-256 of every block with its CID. Raises CarError with the first that differs."""
        view = memoryview(self.data)
        for cid, (start, end) in self.spans.items():
            if sha256(view[start:end]).digest() != cid[4:]:
                raise CarError(CarReason.HASH, f"{cid_text(cid)}, {end - start} bytes at {start}")


def read_car(data: bytes, *, max_bytes: int, max_blocks: int) -> Car:
    """Return the index of a CAR. Of a CID that occurs twice the last block counts.

    Takes time and memory by the number of blocks alone. Raises CarError.
    """
    size = len(data)
    if size > max_bytes:
        raise CarError(CarReason.TOO_LARGE, f"{size} bytes, {max_bytes} may be")
    root, at = read_header(data)
    spans: dict[Cid, tuple[int, int]] = {}
    while at < size:
        length, at = varint(data, at)
        start, end = at + CID_BYTES, at + length
        cid = data[at:start]
        if not CID_BYTES <= length <= MAX_SECTION_BYTES or end > size or not is_cid(cid):
            raise unusable_section(cid, at, length, size)
        if len(spans) == max_blocks:
            raise CarError(CarReason.TOO_MANY_BLOCKS, f"more than {max_blocks}")
        spans[cid] = (start, end)
        at = end
    return Car(data, root, spans)


def unusable_section(cid: bytes, at: int, length: int, size: int) -> CarError:
    """Return why the `length` bytes at `at`, which begin with `cid`, are no block of a CAR of `size` bytes."""
    if at + length > size:
        return CarError(CarReason.TRUNCATED, f"a block of {length} bytes at {at}, but only {size - at} follow")
    if length > MAX_SECTION_BYTES:
        return CarError(CarReason.BLOCK_TOO_LARGE, f"{length - CID_BYTES} bytes at {at + CID_BYTES}")
    return CarError(CarReason.CID, f"at {at}: {shown(cid[: min(length, 8)])}")


class _Header(msgspec.Struct):
    version: int
    roots: list[bytes]


def read_header(data: Bytes) -> tuple[Cid, int]:
    """Return the first root, and where the blocks begin. Raises CarError."""
    length, at = varint(data, 0)
    if not 0 < length <= MAX_HEADER_BYTES:
        raise CarError(CarReason.HEADER, f"of {length} bytes")
    if at + length > len(data):
        raise CarError(CarReason.TRUNCATED, "within the header")
    try:
        header = typed(decode(data[at : at + length]), _Header)
    except (CborError, msgspec.ValidationError) as error:
        raise CarError(CarReason.HEADER, str(error)[:200]) from error
    if header.version != 1:
        raise CarError(CarReason.HEADER, f"version {header.version}, 1 is expected")
    if not header.roots:
        raise CarError(CarReason.NO_ROOT)
    if not is_cid(header.roots[0]):
        raise CarError(CarReason.CID, f"as root: {shown(header.roots[0])}")
    return header.roots[0], at + length


def varint(data: Bytes, at: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number and where it ends. Nearly all of them have one byte or two."""
    if at < len(data) and (first := data[at]) < 128:
        return first, at + 1
    if at + 1 < len(data) and (second := data[at + 1]) < 128:
        return (first & 127) | second << 7, at + 2
    value = 0
    for number, byte in enumerate(data[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, at + number + 1
    if len(data) - at < MAX_VARINT_BYTES:
        raise CarError(CarReason.TRUNCATED, f"within a length at {at}")
    raise CarError(CarReason.VARINT, f"longer than {MAX_VARINT_BYTES} bytes at {at}")
