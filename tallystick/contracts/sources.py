"""Sources: what is ingested, who it is, and how far it has been read."""

import msgspec
import xxhash

from tallystick.contracts import timestamps

IDENTITY_BYTES = 1024 * 1024

Ends = dict[str, dict[int, int]]
"""Per topic and partition, the offset after the last record of a source that Kafka has acknowledged."""


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a source has been read and acknowledged: the value of `source.positions`.

    `digest` covers the whole content before `position`; a reader resumes only where it finds the same. `lines` are
    `events`, `dead` letters and `blank` ones. `claimed` says that the claim of `attempt` has been sent.
    `unfinished` bytes after `position` were sent as the letter of a last line without an end, and are counted in
    `dead`; `whole` is then the digest of the content with them. Once that line is finished it is read again, and
    counted as well where it has become an event.
    `damage` is why the content could not be read to its end, as it was said together with the claim.
    `cursor` is the source's own word for the position, where that is no number, such as a page of a list.
    """

    source: str
    kind: str
    name: str
    attempt: int
    position: int
    digest: str
    lines: int
    events: int
    dead: int
    blank: int
    ends: Ends
    claimed: bool
    at: str
    unfinished: int = 0
    whole: str = ""
    damage: str = ""
    cursor: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """What a claim says of the lines that were read."""
        return {"lines": self.lines, "events": self.events, "dead": self.dead, "blank": self.blank}


def unread(source: str, kind: str, name: str, *, attempt: int, position: int = 0, digest: str = "") -> Checkpoint:
    """Return the checkpoint of a source of which nothing was read; it is going to be read from `position`."""
    return Checkpoint(
        source=source,
        kind=kind,
        name=name,
        attempt=attempt,
        position=position,
        digest=digest,
        lines=0,
        events=0,
        dead=0,
        blank=0,
        ends={},
        claimed=False,
        at=timestamps.now(),
    )


def log_source_id(first_line: bytes, variant: int = 0) -> str:
    """Return the id of a log file: 16 hex digits, a digest of its first complete line (without the line end).

    A file that starts alike but differs later is another source: the same line with the next `variant`. Of a longer
    line only the first IDENTITY_BYTES count.
    """
    return xxhash.xxh3_64_hexdigest(first_line[:IDENTITY_BYTES], seed=variant)


encode_checkpoint = msgspec.json.Encoder().encode
decode_checkpoint = msgspec.json.Decoder(Checkpoint).decode
