"""Retries: dead letters whose content goes into the log once more, as a source of its own.

The source of a letter has claimed it as dead, and stays true. What is tried again is claimed by the retry, and its
slices name the letters that they answer, so that every database can mark them once it holds the event.
"""

from collections.abc import Iterable

import msgspec
import xxhash

from tallystick.contracts.dead_letters import LetterRef, encode_ref

SOURCE_PREFIX = "retry-"
"""How the id of every source begins that is a retry."""
HEADER = "letter"
"""The header of a slice of one event that says which letter it answers (`LetterRef`)."""


class Retried(msgspec.Struct, frozen=True, order=True):
    """A letter whose content is an event: the key of the record that brings it, and the digest of what it holds."""

    letter: LetterRef
    key: bytes
    digest: int


def retry_source(retried: Iterable[Retried]) -> str:
    """Return the id of the source that brings `retried`: the same letters with the same contents, in any order."""
    digest = xxhash.xxh3_64()
    for one in sorted(retried):
        for part in (encode_ref(one.letter), one.key, b"%d" % one.digest):
            digest.update(b"%d:" % len(part) + part)
    return SOURCE_PREFIX + digest.hexdigest()
