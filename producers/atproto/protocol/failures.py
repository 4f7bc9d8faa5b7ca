"""Why a commit is not valid, and what follows from it."""

from enum import StrEnum

from producers.atproto.protocol.faults import Refusal


class Consequence(StrEnum):
    """What to do after a message was found invalid. Nothing of it is used in any case."""

    REJECT = "reject"
    """Go on. If the repository did move on, its next commit tells."""
    RESYNC = "resync"
    """The repository is desynchronised: fetch it anew."""
    REFRESH = "refresh"
    """Resolve the identity anew, then validate once more with what was found; reject if it fails again."""


class Failure(StrEnum):
    """Why a `#commit` or a `#sync` is not valid, in the order in which it is looked for."""

    OPS_TOO_MANY = "ops_too_many"
    OPS_MALFORMED = "ops_malformed"
    BLOCKS_TOO_LARGE = "blocks_too_large"
    TOO_BIG = "too_big"
    IDENTITY_UNRESOLVED = "identity_unresolved"
    ACCOUNT_INACTIVE = "account_inactive"
    CAR_UNREADABLE = "car_unreadable"
    BLOCK_HASH = "block_hash_wrong"
    COMMIT_UNREADABLE = "commit_unreadable"
    ROOT = "root_is_not_the_commit"
    DID = "did_differs"
    REV = "rev_differs"
    REV_MALFORMED = "rev_malformed"
    REV_FUTURE = "rev_in_the_future"
    SIGNATURE = "signature_wrong"
    REV_OLD = "rev_not_newer"
    SINCE = "since_differs"
    PREV_DATA = "prev_data_differs"
    PREV_DATA_MISSING = "prev_data_missing"
    PREV_MISSING = "prev_missing"
    TREE = "tree_unusable"
    OP_NOT_IN_TREE = "op_not_in_tree"
    BLOCK_MISSING = "block_missing"
    INVERSION = "inversion_differs"


_CONSEQUENCES = {
    Failure.TOO_BIG: Consequence.RESYNC,
    Failure.IDENTITY_UNRESOLVED: Consequence.REFRESH,
    Failure.SIGNATURE: Consequence.REFRESH,
    Failure.SINCE: Consequence.RESYNC,
    Failure.PREV_DATA: Consequence.RESYNC,
    Failure.PREV_DATA_MISSING: Consequence.RESYNC,
    Failure.PREV_MISSING: Consequence.RESYNC,
    Failure.TREE: Consequence.RESYNC,
    Failure.OP_NOT_IN_TREE: Consequence.RESYNC,
    Failure.BLOCK_MISSING: Consequence.RESYNC,
    Failure.INVERSION: Consequence.RESYNC,
}


class Invalid(Refusal[Failure]):
    """A commit is not valid: `reason` to count by, `consequence` to act on."""

    @property
    def consequence(self) -> Consequence:
        """What follows from the reason."""
        return consequence_of(self.reason)


def consequence_of(failure: Failure) -> Consequence:
    """Return what follows from a failure."""
    return _CONSEQUENCES.get(failure, Consequence.REJECT)
