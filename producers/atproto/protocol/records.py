"""Records: from the DAG-CBOR of a block to JSON, in which links are `{"$link": ...}` and bytes `{"$bytes": ...}`.

Source of the form: https://atproto.com/specs/data-model
"""

from binascii import b2a_base64
from enum import StrEnum

import cbor2
import orjson

from producers.atproto.protocol.cbor import CborError, decode
from producers.atproto.protocol.cids import cid_text
from producers.atproto.protocol.faults import Refusal, shown

MAX_RECORD_BYTES = 1024 * 1024
"""The protocol's limit is 1 MB; whether that means 1000 or 1024 is left to the host."""


class RecordReason(StrEnum):
    """Why a block is no record."""

    TOO_LARGE = "record_too_large"
    UNREADABLE = "record_unreadable"
    NO_MAP = "record_no_map"
    VALUE = "value_not_in_json"


class RecordError(Refusal[RecordReason]):
    """A block can't be shown as a record."""


def record_json(block: bytes) -> bytes:
    """Return the JSON of a record, its keys in their order. Raises RecordError.

    The strict decoder says whether it is DAG-CBOR; the other one tells links and bytes apart, which the first doesn't.
    """
    if len(block) > MAX_RECORD_BYTES:
        raise RecordError(RecordReason.TOO_LARGE, f"{len(block)} bytes")
    try:
        if not isinstance(decode(block, max_items=MAX_RECORD_BYTES), dict):
            raise RecordError(RecordReason.NO_MAP)
        return orjson.dumps(cbor2.loads(block, tag_hook=_link), default=_bytes)
    except (CborError, cbor2.CBORDecodeError, ValueError) as error:
        raise RecordError(RecordReason.UNREADABLE, str(error)[:200]) from error
    except orjson.JSONEncodeError as error:
        raise RecordError(RecordReason.VALUE, str(error)[:200]) from error


def _link(tag: cbor2.CBORTag, _immutable: bool) -> dict[str, str]:
    return {"$link": cid_text(tag.value[1:])}


def _bytes(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(shown(value))
    return {"$bytes": b2a_base64(value, newline=False).rstrip(b"=").decode("ascii")}
