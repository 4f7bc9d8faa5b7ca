"""Fields of PostgreSQL's binary COPY format: a length of four bytes, and the value as its type sends it.

The format is described under COPY in PostgreSQL's manual ("Binary Format"); what each type sends stands in its source.
The server reads it in three quarters of the time that text takes it: nothing is searched for ends and escapes.
"""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

BEGIN = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
"""What a COPY begins with."""
END = struct.pack(">h", -1)
"""What it ends with."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_length = struct.Struct(">i").pack

NULL = _length(-1)
bigint = partial(struct.Struct(">iq").pack, 8)
"""Makes a field of an integer of 64 bits."""
integer = partial(struct.Struct(">ii").pack, 4)
"""Makes a field of an integer of 32 bits."""
boolean = partial(struct.Struct(">i?").pack, 1)
"""Makes a field of a truth value."""
_jsonb = struct.Struct(">ib").pack
_last_four = struct.Struct(">i8siqiqib").pack


def text(content: bytes) -> bytes:
    """Return a field of UTF-8 text, or of any bytes."""
    return _length(len(content)) + content


def jsonb(content: bytes) -> bytes:
    """Return a field of JSON, in the first (and only) version of what `jsonb` takes."""
    return _jsonb(len(content) + 1, 1) + content


def timestamptz(moment: str) -> bytes:
    """Return a field of a canonical time (`contracts/timestamps.py`): the microseconds since the year 2000."""
    return bigint((datetime.fromisoformat(moment) - _EPOCH) // _MICROSECOND)


def event_row(
    common: bytes, kind: bytes, score: bytes, raw: bytes, digest: bytes, position: int, moment: str, payload: bytes
) -> tuple[bytes, ...]:
    """Return the fields of a row: those of `bigint`, `timestamptz` and `jsonb` packed at once, for speed."""
    at = (datetime.fromisoformat(moment) - _EPOCH) // _MICROSECOND
    return common, kind, score, raw, _last_four(8, digest, 8, position, 8, at, len(payload) + 1, 1), payload


def encoded(rows: Iterable[Sequence[bytes]], columns: int) -> bytes:
    """Return `rows` of `columns` fields as they stand between `BEGIN` and `END`."""
    header = struct.pack(">h", columns)
    return b"".join([header + b"".join(row) for row in rows])
