"""Which source an opened file is, and what that means for a follower."""

from pathlib import Path
from typing import BinaryIO

import msgspec

from producers.checkpoints import Checkpoints
from producers.cowrie.decompression import CHUNK_BYTES, Content, DamagedStream, PlainContent, decompressed
from producers.cowrie.discovery import as_text
from producers.cowrie.following.live import LiveContent
from producers.cowrie.following.names import is_archive
from producers.cowrie.following.steps import Stamp
from producers.cowrie.identity import Identity, first_line, identify
from producers.cowrie.reading import nothing_read
from tallystick.contracts import timestamps
from tallystick.contracts.sources import Checkpoint, log_source_id


class Opened(msgspec.Struct):
    """A file that is to be read: open, and where reading goes on."""

    file: BinaryIO
    content: Content
    found: Identity


def open_new(path: str, stamp: Stamp, checkpoints: Checkpoints, *, only_begun: bool) -> Opened | None:
    """Open the file at `path` and recognise its source; None where there is nothing to be read of it as it is now.

    That is: a live file whose first line isn't finished, a file of which everything is claimed, and with `only_begun`
    one that is not the rest of a source that was begun and not claimed.
    Raises OSError, and DamagedStream where the file changes meanwhile.
    """
    file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - it stays open where there is something to be read
    try:
        content = decompressed(file)
        if isinstance(content, PlainContent):
            content = LiveContent(file)
        opened = _recognise(path, stamp, file, content, checkpoints, only_begun=only_begun)
    except BaseException:
        file.close()
        raise
    if opened is None:
        file.close()
    return opened


def enrol(path: str, stamp: Stamp, checkpoints: Checkpoints) -> None:
    """Note down a new source that is to be read later, so that another follower knows that it has to be read as well.

    It is noted as of the time at which it was written: what is newer may be unknown still. Of a file that can't be
    recognised yet nothing is noted. Raises OSError.
    """
    with Path(path).open("rb", buffering=0) as file:
        content = decompressed(file)
        line, sure = first_line(content)
        if line and sure and log_source_id(line) not in checkpoints.known:
            found = identify(content, checkpoints.known)
            new = nothing_read(found.source, position=found.position, digest=found.digest.hexdigest())
            written = timestamps.canonical(stamp.modified / 1e9)
            checkpoints.save(msgspec.structs.replace(new, name=as_text(path), at=written))


def _recognise(
    path: str, stamp: Stamp, file: BinaryIO, content: Content, checkpoints: Checkpoints, *, only_begun: bool
) -> Opened | None:
    line, sure = first_line(content)
    live = isinstance(content, LiveContent) and not is_archive(path)
    if live and not (sure and line):
        return None
    variants = _variants(line, checkpoints)
    if only_begun and all(known.claimed for known in variants):
        return None
    if not live and any(_is_as_claimed(known, path, stamp, content) for known in variants):
        return None
    found = identify(content, checkpoints.known)
    known = found.checkpoint
    if known is None:
        return None if only_begun else Opened(file, content, found)
    if known.claimed and not found.changed and _rest_is_sound(content, known):
        if not live:
            checkpoints.save(msgspec.structs.replace(known, name=as_text(path), at=timestamps.now()))
        return None
    content.seek(found.position)
    return Opened(file, content, found)


def _variants(line: bytes, checkpoints: Checkpoints) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    while known := checkpoints.known.get(log_source_id(line, len(found))):
        found.append(known)
    return found


def _is_as_claimed(known: Checkpoint, path: str, stamp: Stamp, content: Content) -> bool:
    """Whether an archive can be told by name, time and size to be as it was when it was claimed, without reading it."""
    return (
        known.claimed
        and not known.damage
        and known.name == as_text(path)
        and timestamps.canonical(stamp.modified / 1e9) < known.at
        and (not isinstance(content, LiveContent) or stamp.size == known.position + known.unfinished)
    )


def _rest_is_sound(content: Content, known: Checkpoint) -> bool:
    """Whether what follows the last position is as damaged as it was when the source was claimed. Raises OSError."""
    try:
        while content.read(CHUNK_BYTES):
            pass
    except DamagedStream as damage:
        return str(damage) == known.damage
    return str(content.damage() or "") == known.damage
