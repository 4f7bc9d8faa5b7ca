"""The dead letter: what could not be taken as an event, kept with its bytes, its source and its position."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import xxhash

PIECE_BYTES = 8 * 1024 * 1024
"""Longer content travels as several letters of the same position, numbered by `piece`."""

READ = "read"
"""The origin of what a producer refused; its claim counts these letters."""
REFUSED = "the database refuses it"
"""The reason of an entry that was read from its topic, and that the database would not take."""
NO_RECORD = "not a record of its topic"
"""The reason of a record that keeps no contract; its position is its offset, and no source counts it."""


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One letter, or one piece of it.

    `origin` is who wrote it: `read` for a producer (its claim counts these), else the name of the agent or sink.
    `payload` holds the bytes as they were; JSON carries them as base64. Only `piece` 0 counts as a letter.
    `topic`, `partition` and `offset` tell which record held the bytes, where the letter is of a record, and `key` is
    that record's. `sensor` is what the producer was told that events belong to which name no sensor.
    """

    source: str
    position: int
    reason: str
    payload: bytes
    origin: str = READ
    detail: str = ""
    piece: int = 0
    last: bool = True
    at: str = ""
    topic: str = ""
    partition: int = -1
    offset: int = -1
    key: str = ""
    sensor: str = ""


_Small = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]


class LetterRef(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which letter: it is the same one in every database. `piece` and `digest` are those of its last piece.

    In `cowrie.events` it is a header, a JSON array, of a slice that brings a letter's content once more.
    """

    source: str
    position: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    origin: str
    topic: str
    partition: _Small
    piece: _Small
    digest: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(DeadLetter).decode
encode_ref = msgspec.json.Encoder().encode
decode_ref = msgspec.json.Decoder(LetterRef).decode


def pieces(letter: DeadLetter) -> Iterator[DeadLetter]:
    """Yield `letter`, or the letters that it must travel as where its payload is longer than `PIECE_BYTES`."""
    starts = range(0, max(len(letter.payload), 1), PIECE_BYTES)
    for piece, start in enumerate(starts):
        payload = letter.payload[start : start + PIECE_BYTES]
        yield msgspec.structs.replace(letter, payload=payload, piece=piece, last=piece == len(starts) - 1)


def payload_digest(payload: bytes) -> int:
    """Return the digest of one piece: xxh3-64 as a signed integer, as databases have it.

    It tells apart what stood at one position at two times, such as half a line and the whole of it.
    """
    digest = xxhash.xxh3_64_intdigest(payload)
    return digest - (1 << 64) if digest >> 63 else digest
