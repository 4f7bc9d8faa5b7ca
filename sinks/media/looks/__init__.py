"""Looks at what was claimed of a medium, one module a stage: from the database and the disk, never from who worked."""

import sqlalchemy as sa

from sinks.looking import Inspection, Looks
from sinks.media.copies import Copies
from sinks.media.inodes import Inodes
from sinks.media.looks.archived import look_at_archive
from sinks.media.looks.copied import look_at_copies
from sinks.media.looks.enumerated import look_at_listing
from sinks.media.looks.imaged import look_at_image
from sinks.media.looks.loaded import look_at_rows
from sinks.media.media import Media
from sinks.media.reading import read_medium
from tallystick.contracts.media import ARCHIVED, COPIED, ENUMERATED, IMAGED, LOADED

LOOKS: Looks = {
    IMAGED: look_at_image,
    ENUMERATED: look_at_listing,
    LOADED: look_at_rows,
    COPIED: look_at_copies,
    ARCHIVED: look_at_archive,
}
"""The look at each stage that is inspected."""


def _is_known(connection: sa.Connection, medium: str, attempt: int) -> bool:
    found = read_medium(connection, medium)
    return found is not None and found.attempt >= attempt


INSPECTION = Inspection(looks=LOOKS, tables=frozenset({Media.name, Inodes.name, Copies.name}), is_known=_is_known)
