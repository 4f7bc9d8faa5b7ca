"""CARs of whole repositories, which lie in a file: an index that stays small, whatever a stranger sends.

A dictionary of two million blocks takes 700 MB. Here a block takes 8 bytes for its place, and 12 to 24 in a hash table
of places; what stands at a place says which block it is.
"""

from array import array
from collections.abc import Iterator
from hashlib import sha256

from producers.atproto.protocol.car import (
    MAX_SECTION_BYTES,
    Bytes,
    CarError,
    CarReason,
    read_header,
    unusable_section,
    varint,
)
from producers.atproto.protocol.cids import CID_BYTES, Cid, cid_text, is_cid


class StoredCar:
    """A CAR: its first root, and where each block lies in `data`, which must stay as it is."""

    def __init__(self, data: Bytes, root: Cid, places: "array[int]") -> None:
        """Use `read_stored_car`. `places` are where the sections begin, each with its length."""
        self.data, self.root = data, root
        self._places = places
        self._mask = (1 << (3 * len(places) // 2).bit_length()) - 1
        self._table = array("Q", (0,)) * (self._mask + 1)
        for place in places:
            slot, _, _ = self._find(self._section(place)[0])
            self._table[slot] = place

    def __len__(self) -> int:
        """The number of blocks, those that are there twice counted twice."""
        return len(self._places)

    def get(self, cid: Cid) -> bytes | None:
        """Return a block, or None where the CAR doesn't have it. Of one that is there twice, the last."""
        _, start, end = self._find(cid)
        return self.data[start:end] if start else None

    def check_hashes(self) -> Iterator[int]:
        """Compare the SHA-256 of every block with its CID, yielding how many were compared, now and then.

        Raises CarError with the first that differs.
        """
        for number, place in enumerate(self._places, 1):
            cid, start, end = self._section(place)
            if sha256(self.data[start:end]).digest() != cid[4:]:
                raise CarError(CarReason.HASH, f"{cid_text(cid)}, {end - start} bytes at {start}")
            if number % _STEP == 0:
                yield number

    def _section(self, place: int) -> tuple[Cid, int, int]:
        length, at = varint(self.data, place)
        return self.data[at : at + CID_BYTES], at + CID_BYTES, at + length

    def _find(self, cid: Cid) -> tuple[int, int, int]:
        """Return the slot of a block, where it begins and where it ends; 0 twice where the slot is empty.

        Python salts the hash of bytes, so that nobody can choose CIDs that fall on one slot.
        """
        table, mask = self._table, self._mask
        slot = hash(cid) & mask
        while place := table[slot]:
            found, start, end = self._section(place)
            if found == cid:
                return slot, start, end
            slot = (slot + 1) & mask
        return slot, 0, 0


_STEP = 10_000


def read_stored_car(data: Bytes, *, max_bytes: int, max_blocks: int) -> StoredCar:
    """Return the index of a CAR. Raises CarError."""
    size = len(data)
    if size > max_bytes:
        raise CarError(CarReason.TOO_LARGE, f"{size} bytes, {max_bytes} may be")
    root, at = read_header(data)
    places = array("Q")
    while at < size:
        place = at
        length, at = varint(data, place)
        cid = data[at : at + CID_BYTES]
        if not CID_BYTES <= length <= MAX_SECTION_BYTES or at + length > size or not is_cid(cid):
            raise unusable_section(cid, at, length, size)
        if len(places) == max_blocks:
            raise CarError(CarReason.TOO_MANY_BLOCKS, f"more than {max_blocks}")
        places.append(place)
        at += length
    return StoredCar(data, root, places)
