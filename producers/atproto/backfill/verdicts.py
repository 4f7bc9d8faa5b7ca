"""What follows from a fetch that went wrong: a pure decision, to be read and tested as a table."""

import msgspec

from producers.atproto.backfill.pacing import HostGivenUp
from producers.atproto.backfill.snapshots import SnapshotError, SnapshotReason
from producers.atproto.directory import Unresolvable
from producers.atproto.http import Refused, Transient
from producers.atproto.protocol.car import CarError, CarReason
from producers.atproto.protocol.failures import Failure, Invalid
from producers.atproto.protocol.mst import MstError, MstReason
from tallystick.errors import TallyError

STATUSES = {
    "RepoTakendown": "takendown",
    "RepoSuspended": "suspended",
    "RepoDeactivated": "deactivated",
    "RepoNotFound": "",
}
"""The names of refusals that are about the account, and the status that each tells. That a host doesn't have a
repository may mean that the account is deleted, and may as well mean that it was never there, or has moved."""
RATE_LIMITED = 429


class Again(msgspec.Struct, frozen=True):
    """Try once more. `counts` is whether that was one of the tries that a repository has."""

    problem: str
    counts: bool = True


class Moved(msgspec.Struct, frozen=True):
    """It may be that what is known of the identity is old: resolve it anew, and try once more if it has changed."""

    problem: str
    status: str = ""


class Lost(msgspec.Struct, frozen=True):
    """Another try is of no use."""

    problem: str
    status: str = ""


Verdict = Again | Moved | Lost

_BROKEN_OFF = {CarReason.TRUNCATED, MstReason.MISSING, SnapshotReason.RECORD_MISSING, Failure.COMMIT_UNREADABLE}
"""What a host sends that is interrupted, or that writes to the repository meanwhile."""


def verdict_on(error: TallyError) -> Verdict:
    """Return what follows from the error of one try, as far as the error tells. Raises it where it tells nothing."""
    match error:
        case Transient(status=status):
            return Again(str(error), counts=status != RATE_LIMITED)
        case Refused(status=200):
            return Lost(str(error))
        case Refused(error=name):
            return Moved(f"{name}: {error}" if name else str(error), STATUSES.get(name, ""))
        case Invalid(reason=Failure.REV_OLD):
            return Again(str(error), counts=False)
        case CarError() | MstError() | SnapshotError() | Invalid():
            return Again(str(error)) if error.reason in _BROKEN_OFF else Lost(str(error))
        case HostGivenUp():
            return Lost(str(error))
        case Unresolvable():
            return Lost(f"{Failure.IDENTITY_UNRESOLVED.value}: {error}")
        case _:
            raise error
