"""The dead letter: what could not be taken as an event, kept with its bytes, its source and its position."""

from collections.abc import Iterator

import msgspec

PIECE_BYTES = 8 * 1024 * 1024
"""Longer content travels as several letters of the same position, numbered by `piece`."""


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One letter, or one piece of it.

    `origin` is who wrote it: `read` for a producer (its claim counts these), else the name of the agent or sink.
    `payload` holds the bytes as they were; JSON carries them as base64. Only `piece` 0 counts as a letter.
    `topic`, `partition` and `offset` tell which record held the bytes, where the letter is of a record.
    """

    source: str
    position: int
    reason: str
    payload: bytes
    origin: str = "read"
    detail: str = ""
    piece: int = 0
    last: bool = True
    at: str = ""
    topic: str = ""
    partition: int = -1
    offset: int = -1


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(DeadLetter).decode


def pieces(letter: DeadLetter) -> Iterator[DeadLetter]:
    """Yield `letter`, or the letters that it must travel as where its payload is longer than `PIECE_BYTES`."""
    starts = range(0, max(len(letter.payload), 1), PIECE_BYTES)
    for piece, start in enumerate(starts):
        payload = letter.payload[start : start + PIECE_BYTES]
        yield msgspec.structs.replace(letter, payload=payload, piece=piece, last=piece == len(starts) - 1)
