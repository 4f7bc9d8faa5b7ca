"""A warm start of roles: the commands that run several let them be forked from one process that has all imported."""

import atexit

from tallystick.supervision.nursery import Nursery

ROLES = "tallystick.cli.run"
IMPORTED = ("sinks.roles", "streams.worker", "producers.cowrie.reader")
IMPORTED_FOR_MEDIA = ("tallystick.cli.media.worker", "tallystick.cli.media.stages", "producers.media.identifier")
IMPORTED_FOR_ATPROTO = (
    "producers.atproto.live.following",
    "producers.atproto.backfill.listing",
    "producers.atproto.backfill.fetcher",
)

_kept: list[Nursery] = []


def warm_up(*imported: str) -> None:
    """Make the process from which this one's roles will be forked; it imports beside what is done here meanwhile.

    `imported` are modules that its roles need besides those that all do.

    Call it where a command begins, before anything is logged or connected. It ends with this process.
    """
    if not _kept and (made := Nursery.fork((ROLES,), imported=(*IMPORTED, *imported))):
        _kept.append(made)
        atexit.register(made.close)


def nursery() -> Nursery | None:
    """Return what `warm_up` has made, None where nobody has called it, or where roles can't be forked."""
    return _kept[0] if _kept else None
