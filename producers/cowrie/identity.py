"""Which source a file is, and where to go on reading it: decided by its content alone."""

from collections.abc import Mapping

import msgspec
import xxhash

from producers.cowrie.decompression import CHUNK_BYTES, Content, DamagedStream
from producers.cowrie.lines import BOM
from tallystick.contracts.sources import IDENTITY_BYTES, Checkpoint, log_source_id

_PROBE_BYTES = 64 * 1024


class Identity(msgspec.Struct, frozen=True):
    """A file that has been recognised: go on at `position`; `digest` has hashed all content before it.

    `checkpoint` is that of the source, none where it is a new one. `changed` says that there is content that the
    checkpoint doesn't know of.
    """

    source: str
    position: int
    digest: xxhash.xxh3_128
    checkpoint: Checkpoint | None
    changed: bool


def identify(content: Content, checkpoints: Mapping[str, Checkpoint]) -> Identity:
    """Recognise the source that begins as `content` does, and leave `content` where reading goes on.

    A damaged stream counts as far as it can be read.
    Raises OSError, and DamagedStream where the file changes meanwhile.
    """
    line, _ = first_line(content)
    candidates: list[Checkpoint] = []
    while checkpoint := checkpoints.get(source := log_source_id(line, len(candidates))):
        candidates.append(checkpoint)
    states = _digests(content, {position for known in candidates for position in (known.position, _seen(known))})
    for known in candidates:
        state = states.get(_seen(known))
        if state is not None and state.hexdigest() == (known.whole or known.digest):
            content.seek(_seen(known))
            changed = bool(_read(content, 1))
            content.seek(known.position)
            return Identity(known.source, known.position, states[known.position], known, changed)
    content.seek(0)
    start = _skip_bom(content)
    return Identity(source, start, xxhash.xxh3_128(BOM[:start]), None, changed=True)


def first_line(content: Content) -> tuple[bytes, bool]:
    """Return the first line that isn't blank, without its end, and whether that is sure to stay the first line.

    It isn't where the content ends in it, or ends too early. Of a long line it is the beginning. Raises OSError.
    """
    content.seek(0)
    _skip_bom(content)
    held = b""
    # Two bytes more than count, so that a line end can't lie where the line is cut.
    while len(held) < IDENTITY_BYTES + 2 and (data := _read(content, _PROBE_BYTES)):
        *lines, held = (held + data).split(b"\n")
        for line in lines:
            if line.strip():
                return line.removesuffix(b"\r"), True
    sure = len(held) > IDENTITY_BYTES or not (held.strip() or content.damage())
    return held.removesuffix(b"\r") if held.strip() else b"", sure


def _skip_bom(content: Content) -> int:
    start = b""
    while len(start) < len(BOM) and (data := _read(content, len(BOM) - len(start))):
        start += data
    if start == BOM:
        return len(BOM)
    content.seek(0)
    return 0


def _seen(known: Checkpoint) -> int:
    """Return the end of what was sent, an unfinished last line included."""
    return known.position + known.unfinished


def _digests(content: Content, positions: set[int]) -> dict[int, xxhash.xxh3_128]:
    """Return the state of the digest at each of `positions` that the content reaches, in one pass."""
    content.seek(0)
    state, found = xxhash.xxh3_128(), {}
    for position in sorted(positions):
        if not _hash_up_to(content, position, state):
            break
        found[position] = state.copy()
    return found


def _hash_up_to(content: Content, position: int, state: xxhash.xxh3_128) -> bool:
    while content.position < position:
        if not (data := _read(content, min(CHUNK_BYTES, position - content.position))):
            return False
        state.update(data)
    return True


def _read(content: Content, size: int) -> bytes:
    try:
        return content.read(size)
    except DamagedStream:
        return b""  # told again by whoever reads on from here
