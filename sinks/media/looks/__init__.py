"""Looks at what was claimed of a medium, one module a stage: from the database and the disk, never from who worked."""

from collections.abc import Callable, Mapping

from sinks.media.copies import Copies
from sinks.media.inodes import Inodes
from sinks.media.looks.archived import look_at_archive
from sinks.media.looks.copied import look_at_copies
from sinks.media.looks.enumerated import look_at_listing
from sinks.media.looks.imaged import look_at_image
from sinks.media.looks.loaded import look_at_rows
from sinks.media.looks.question import Look, Question
from sinks.media.media import Media
from tallystick.contracts.media import ARCHIVED, COPIED, ENUMERATED, IMAGED, LOADED
from tallystick.database.errors import is_transient
from tallystick.errors import TallyError
from tallystick.logs import get_logger

log = get_logger(__name__)

TABLES = frozenset({Media.name, Inodes.name, Copies.name})
"""The sinks whose tables are looked at."""

LOOKS: Mapping[str, Callable[[Question], Look]] = {
    IMAGED: look_at_image,
    ENUMERATED: look_at_listing,
    LOADED: look_at_rows,
    COPIED: look_at_copies,
    ARCHIVED: look_at_archive,
}
"""The look at each stage that is inspected."""


def look(question: Question) -> Look:
    """Look at what was claimed. What is missing, or goes wrong meanwhile, is what is found: no count, but a detail.

    Raises what `question.progress` raises, and what the database raises where it may pass.
    """
    look_at = LOOKS.get(question.stage)
    if look_at is None:
        return Look({}, detail=f"this version knows no look at the stage {question.stage}: use a newer one")
    try:
        return look_at(question)
    except question.interruption:
        raise
    except (TallyError, OSError) as error:
        return Look({}, detail=f"could not look: {error}")
    except Exception as error:
        if is_transient(error):
            raise
        # Whatever it is: to look again would end in the same way, again and again.
        log.exception("a look has failed", medium=question.medium, stage=question.stage)
        return Look({}, detail=f"could not look: {type(error).__name__}: {str(error).strip()[:500]}")
