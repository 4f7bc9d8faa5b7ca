"""The image of a device: read whole, beside the map that tells which bytes of it are real."""

import os
from pathlib import Path

from sinks.looking import Look, Question
from sinks.media.looks.reading import hash_file, known_medium, read_file
from tallystick.contracts import rescue_maps
from tallystick.contracts.media import IMAGE_COUNTS, Medium
from tallystick.settings import Settings

_MAP_BYTES = 1 << 30


def image_of(medium: Medium, settings: Settings) -> Path:
    """Return where the image of a medium lies."""
    return _path(medium.image) or settings.media_images / f"{medium.medium}.img"


def map_of(medium: Medium, settings: Settings) -> Path:
    """Return where the map of the image of a device lies."""
    return _path(medium.map) or settings.media_images / f"{medium.medium}.map"


def look_at_image(question: Question) -> Look:
    """Return the IMAGE_COUNTS and the image's BLAKE3. What the map says nothing of counts as bad.

    Raises StorageError, and ContractError where the map is none.
    """
    medium = known_medium(question)
    chart = rescue_maps.parse(read_file(map_of(medium, question.settings), most=_MAP_BYTES))
    size, digest = hash_file(image_of(medium, question.settings), question)
    beyond = max(size - chart.end, 0)
    told = "" if chart.finished else "the map says that the rescue did not come to its end"
    if chart.end > size:
        told = f"the map tells of {chart.end} bytes, the image has {size}"
    counts = dict(zip(IMAGE_COUNTS, (size, chart.bad_bytes + beyond), strict=True))
    return Look({} if told else counts, digest, told)


def _path(path: bytes) -> Path | None:
    return Path(os.fsdecode(path)) if path else None
