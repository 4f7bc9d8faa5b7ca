"""Which source a file is, and where to go on reading it: decided by its content alone."""

from collections.abc import Mapping

import msgspec
import xxhash

from producers.cowrie.decompression import CHUNK_BYTES, Content, DamagedStream
from producers.cowrie.formats import PROBE_BYTES, Format, detect, guess, make_framer
from producers.cowrie.lines import BOM
from tallystick.contracts.sources import IDENTITY_BYTES, Checkpoint, log_source_id

_PROBE_BYTES = 64 * 1024


class Identity(msgspec.Struct, frozen=True):
    """A file that has been recognised: go on at `position`; `digest` has hashed all content before it.

    `checkpoint` is that of the source, none where it is a new one. `changed` says that there is content that the
    checkpoint doesn't know of. `form` is that in which its events stand.
    """

    source: str
    position: int
    digest: xxhash.xxh3_128
    checkpoint: Checkpoint | None
    changed: bool
    form: Format = Format.LINES


def recognise_form(content: Content, asked: Format) -> Format:
    """Return the form of a log: what was `asked` for, or what its beginning shows. Raises OSError."""
    if asked is not Format.AUTO:
        return asked
    content.seek(0)
    _skip_bom(content)
    start = b""
    while len(start) < PROBE_BYTES and (data := _read(content, PROBE_BYTES - len(start))):
        start += data
        if shown := detect(start):
            return shown
    return guess(start)


def identify(content: Content, checkpoints: Mapping[str, Checkpoint], form: Format = Format.LINES) -> Identity:
    """Recognise the source that begins as `content` does, and leave `content` where reading goes on.

    A damaged stream counts as far as it can be read.
    Raises OSError, and DamagedStream where the file changes meanwhile.
    """
    first, _ = first_item(content, form)
    candidates: list[Checkpoint] = []
    while checkpoint := checkpoints.get(source := log_source_id(first, len(candidates))):
        candidates.append(checkpoint)
    states = _digests(content, {position for known in candidates for position in (known.position, _seen(known))})
    for known in candidates:
        state = states.get(_seen(known))
        if state is not None and state.hexdigest() == (known.whole or known.digest):
            content.seek(_seen(known))
            changed = bool(_read(content, 1))
            content.seek(known.position)
            return Identity(known.source, known.position, states[known.position], known, changed, form)
    content.seek(0)
    start = _skip_bom(content)
    return Identity(source, start, xxhash.xxh3_128(BOM[:start]), None, changed=True, form=form)


def first_item(content: Content, form: Format) -> tuple[bytes, bool]:
    """Return what a log of `form` is known by, and whether that is sure to stay so. Raises OSError.

    That is its first line that isn't blank, or its first object as it stands there.
    """
    return first_line(content) if form is Format.LINES else _first_object(content, form)


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


def _first_object(content: Content, form: Format) -> tuple[bytes, bool]:
    """Return the first object, or, where its end is too far away or missing, the beginning of what can't be told."""
    content.seek(0)
    framer = make_framer(form, _skip_bom(content), max_line_bytes=2 * IDENTITY_BYTES)
    left = 2 * IDENTITY_BYTES
    while left > 0 and (data := _read(content, min(left, _PROBE_BYTES))):
        left -= len(data)
        for frame in framer.feed(data):
            for index, item in enumerate(frame.lines):
                if index not in frame.reasons:
                    return item, True
    return framer.undecided[:IDENTITY_BYTES], left == 0 or not (framer.undecided or content.damage())


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
