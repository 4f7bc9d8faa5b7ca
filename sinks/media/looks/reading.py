"""What looks at media have in common."""

from pathlib import Path

from blake3 import blake3

from sinks.looking import Question
from sinks.media.reading import read_medium
from tallystick.contracts.media import Medium
from tallystick.contracts.text import printable
from tallystick.database.engine import snapshot
from tallystick.errors import ContractError, StorageError
from tallystick.storage.disk import open_for_reading, read_blocks, storage_errors


def known_medium(question: Question) -> Medium:
    """Return the medium as the database knows it. Raises ContractError where it does not."""
    with snapshot(question.engine) as connection:
        medium = read_medium(connection, question.source)
    if medium is None:
        raise ContractError(f"the database knows no medium {question.source}: see whether the sink `media` runs")
    return medium


def hash_file(path: Path, question: Question) -> tuple[int, str]:
    """Return size and BLAKE3 of a file. Raises StorageError where it can't be read."""
    digest, size = blake3(), 0
    with storage_errors("read", path), open_for_reading(path) as opened:
        for block in read_blocks(opened):
            digest.update(block)
            size += len(block)
            question.progress()
    return size, digest.hexdigest()


def read_file(path: Path, *, most: int) -> bytes:
    """Return the content of a small file. Raises StorageError where it can't be read, or has more than `most` bytes."""
    content = b""
    with storage_errors("read", path), open_for_reading(path) as opened:
        for block in read_blocks(opened):
            content += block
            if len(content) > most:
                raise StorageError(f"{printable(str(path))} has more than {most} bytes, which is no file of its kind")
    return content
