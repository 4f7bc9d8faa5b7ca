"""DAG-CBOR from strangers: decoded strictly, and only after a look at how much it would become in memory.

A frame of 5 MB may hold five million empty lists, which are 350 MB once they are objects. So whatever is larger than
`TRUSTED_BYTES` is skimmed first, which makes no objects. Source of the form: https://ipld.io/specs/codecs/dag-cbor/spec/
"""

from enum import StrEnum
from typing import TypeVar, cast

import msgspec
from libipld import decode_dag_cbor

from producers.atproto.protocol.faults import Refusal

TRUSTED_BYTES = 64 * 1024
MAX_ITEMS = 250_000
"""How many items (keys and values) one decoded thing may have: a full frame of labels has about 200,000."""
MAX_DEPTH = 128


T = TypeVar("T")


class CborReason(StrEnum):
    """Why bytes are not taken as DAG-CBOR."""

    MALFORMED = "malformed_cbor"
    TOO_DEEP = "cbor_too_deep"
    TOO_MANY_ITEMS = "too_many_cbor_items"


class CborError(Refusal[CborReason]):
    """Bytes are no DAG-CBOR, or would take too much memory."""


def decode(data: bytes, *, max_items: int = MAX_ITEMS) -> object:
    """Return the one item that `data` is. Links become the bytes of their CIDs, as byte strings do: only the place of
    a value tells them apart.

    Raises CborError.
    """
    if len(data) > TRUSTED_BYTES and (end := skim(data, max_items=max_items)) != len(data):
        raise CborError(CborReason.MALFORMED, f"{len(data) - end} bytes are left behind its end")
    try:
        return cast("object", decode_dag_cbor(data))
    except RecursionError:
        raise CborError(CborReason.TOO_DEEP) from None
    except ValueError as error:
        raise CborError(CborReason.MALFORMED, str(error)[:200]) from error


def typed(value: object, type_: type[T]) -> T:
    """Return what was decoded as a struct. Text is never taken for bytes, which msgspec otherwise does.

    Raises msgspec.ValidationError.
    """
    return msgspec.convert(value, type_, builtin_types=(bytes,))


def skim(data: bytes, start: int = 0, *, max_items: int = MAX_ITEMS, max_depth: int = MAX_DEPTH) -> int:
    """Return where the item that begins at `start` ends, without looking at what it holds, nor making anything of it.

    Takes all of CBOR but items of indefinite length, which DAG-CBOR forbids. Raises CborError.
    """
    at, size = start, len(data)
    open_items = [1]
    for _ in range(max_items):
        while not open_items[-1]:
            open_items.pop()
            if not open_items:
                return at
        open_items[-1] -= 1
        major, argument, at = _head(data, at, size)
        if major in (2, 3):
            at += argument
        elif major in (4, 5, 6):
            if len(open_items) > max_depth:
                raise CborError(CborReason.TOO_DEEP, f"at byte {at}")
            open_items.append((argument, 2 * argument, 1)[major - 4])
        if at > size:
            raise CborError(CborReason.MALFORMED, "it ends within a string")
    while open_items and not open_items[-1]:
        open_items.pop()
    if open_items:
        raise CborError(CborReason.TOO_MANY_ITEMS, f"more than {max_items}")
    return at


def _head(data: bytes, at: int, size: int) -> tuple[int, int, int]:
    """Return major type, argument, and where the head ends."""
    if at >= size:
        raise CborError(CborReason.MALFORMED, "it ends too early")
    first = data[at]
    argument = first & 31
    if argument < 24:
        return first >> 5, argument, at + 1
    if argument > 27:
        raise CborError(CborReason.MALFORMED, f"indefinite or reserved length at byte {at}")
    end = at + 1 + (1 << argument - 24)
    if end > size:
        raise CborError(CborReason.MALFORMED, "it ends within a head")
    return first >> 5, int.from_bytes(data[at + 1 : end]), end
