"""Whether a commit is valid, at four levels, each with all checks of those before it.

The order of the checks is the protocol's (https://atproto.com/specs/sync#commit-validation-mst-inversion); what each
failure is followed by stands in `failures`. What is known of an account and its repository comes as arguments, and so
does the time.
"""

from enum import IntEnum

import msgspec

from producers.atproto.protocol.cids import Cid, cid_text, is_cid
from producers.atproto.protocol.commits import MAX_COMMIT_BYTES, Commit, SignedCommit, open_commit, open_sync
from producers.atproto.protocol.failures import Failure, Invalid
from producers.atproto.protocol.faults import shown
from producers.atproto.protocol.messages import MAX_OPS, CommitMessage, RepoOp, SyncMessage
from producers.atproto.protocol.mst import EMPTY_TREE, MstError
from producers.atproto.protocol.signatures import PublicKey
from producers.atproto.protocol.trees import Tree
from tallystick.contracts.atproto import Action
from tallystick.contracts.tids import MAX_AHEAD_US, is_tid, tid_microseconds


class Level(IntEnum):
    """How much is checked. Names are those of the setting, in lower case."""

    OFF = 0
    """Only what must be readable to be sent on at all."""
    HASH = 1
    """Every block is what its CID says, and the commit is what the message says of it. Needs no knowledge."""
    SIGNATURE = 2
    """The account, whose status allows it, has signed the commit. Needs its key."""
    INDUCTIVE = 3
    """The operations are all that changed between the last commit and this one. Needs the last commit."""


class Standing(msgspec.Struct, frozen=True):
    """What is known of an account: its key, None where it couldn't be resolved (`problem` says why), and its status."""

    key: PublicKey | None
    problem: str = ""
    active: bool = True


class Known(msgspec.Struct, frozen=True):
    """What is known of a repository: the last revision that was taken, and the root of its tree."""

    rev: str
    data: Cid


def validate_commit(
    message: CommitMessage, *, level: Level, now_us: int, standing: Standing | None = None, known: Known | None = None
) -> Commit:
    """Return the opened commit of a valid message. Raises Invalid with the first failure, in the order of `Failure`.

    `now_us` is in microseconds since 1970. Without a `standing` an account counts as unresolved; where nothing is
    `known` of the repository, what compares with its last commit is left out.
    """
    _check_form(message)
    if level >= Level.HASH and message.too_big:
        raise Invalid(Failure.TOO_BIG, "the host says that it left operations out")
    key = _key_of(standing) if level >= Level.SIGNATURE else None
    commit = open_commit(message, check_hashes=level >= Level.HASH)
    if level >= Level.HASH:
        if commit.car.root != message.commit:
            raise Invalid(Failure.ROOT, f"{cid_text(commit.car.root)}, not {shown(message.commit.hex())}")
        _check_envelope(commit.signed, message.repo, message.rev, now_us)
    if key:
        _check_signature(commit.signed, key)
    if level >= Level.INDUCTIVE:
        _check_succession(message, known)
        _check_tree(commit)
    return commit


def validate_sync(
    message: SyncMessage, *, level: Level, now_us: int, standing: Standing | None = None, known: Known | None = None
) -> SignedCommit:
    """Return the commit object of a valid `#sync`; `is_synchronised` says whether it is news. Raises Invalid."""
    key = _key_of(standing) if level >= Level.SIGNATURE else None
    signed = open_sync(message, check_hashes=level >= Level.HASH)
    if level >= Level.HASH:
        _check_envelope(signed, message.did, message.rev, now_us)
    if key:
        _check_signature(signed, key)
    if level >= Level.INDUCTIVE and known and signed.rev < known.rev:
        raise Invalid(Failure.REV_OLD, f"{signed.rev} is older than {known.rev}")
    return signed


def is_synchronised(signed: SignedCommit, known: Known | None) -> bool:
    """Return whether what is known of a repository is what its commit object says; else it must be fetched anew."""
    return known is not None and (signed.rev, signed.data) == (known.rev, known.data)


def _check_form(message: CommitMessage) -> None:
    """Check what everything else takes for granted: limits, a path once, a CID where there is a record."""
    if len(message.ops) > MAX_OPS:
        raise Invalid(Failure.OPS_TOO_MANY, f"{len(message.ops)}, {MAX_OPS} may be")
    if len({op.path for op in message.ops}) < len(message.ops):
        raise Invalid(Failure.OPS_MALFORMED, "a path occurs twice")
    for op in message.ops:
        if (op.cid is None) is not (op.action is Action.DELETE):
            raise Invalid(
                Failure.OPS_MALFORMED, f"{op.action} of {op.path} {'without' if op.cid is None else 'with'} cid"
            )
        if not all(is_cid(cid) for cid in (op.cid, op.prev) if cid is not None):
            raise Invalid(Failure.OPS_MALFORMED, f"cid or prev of {op.path} is no CID")
    if len(message.blocks) > MAX_COMMIT_BYTES:
        raise Invalid(Failure.BLOCKS_TOO_LARGE, f"{len(message.blocks)} bytes, {MAX_COMMIT_BYTES} may be")
    if not is_cid(message.commit) or (message.prev_data is not None and not is_cid(message.prev_data)):
        raise Invalid(Failure.OPS_MALFORMED, "commit or prevData is no CID")


def _key_of(standing: Standing | None) -> PublicKey:
    if standing is None or standing.key is None:
        raise Invalid(Failure.IDENTITY_UNRESOLVED, standing.problem if standing else "")
    if not standing.active:
        raise Invalid(Failure.ACCOUNT_INACTIVE, "its host says so")
    return standing.key


def _check_envelope(signed: SignedCommit, did: str, rev: str, now_us: int) -> None:
    if signed.did != did:
        raise Invalid(Failure.DID, f"the commit is of {signed.did}, the message of {did}")
    if signed.rev != rev:
        raise Invalid(Failure.REV, f"the commit has {shown(signed.rev)}, the message {shown(rev)}")
    if not is_tid(rev):
        raise Invalid(Failure.REV_MALFORMED, shown(rev))
    if (ahead := tid_microseconds(rev) - now_us) > MAX_AHEAD_US:
        raise Invalid(Failure.REV_FUTURE, f"{rev} is {ahead // 1_000_000} s ahead")


def _check_signature(signed: SignedCommit, key: PublicKey) -> None:
    if problem := key.problem_of(signed.sig, signed.unsigned):
        raise Invalid(Failure.SIGNATURE, f"{problem.value}, by {key.did_key()}")


def _check_succession(message: CommitMessage, known: Known | None) -> None:
    if known is not None:
        if message.rev <= known.rev:
            raise Invalid(Failure.REV_OLD, f"{message.rev} is not newer than {known.rev}")
        if message.since != known.rev:
            raise Invalid(Failure.SINCE, f"{shown(message.since)}, but {known.rev} is the last that was taken")
    if message.prev_data is None and message.since is not None:
        raise Invalid(Failure.PREV_DATA_MISSING, "of a commit that is not the first")
    if known is not None and message.prev_data != known.data:
        raise Invalid(Failure.PREV_DATA, f"the tree of {known.rev} has the root {cid_text(known.data)}")


def _check_tree(commit: Commit) -> None:
    """Look every operation up in the tree, undo them all, and compare the root with that of the commit before."""
    message = commit.message
    before = message.prev_data or EMPTY_TREE
    try:
        tree = Tree(commit.signed.data, commit.car.get)
        for op in message.ops:
            if tree.find(op.path.encode()) != op.cid:
                raise Invalid(Failure.OP_NOT_IN_TREE, f"{op.action} of {op.path}")
            if op.cid is not None and op.cid not in commit.car.spans:
                raise Invalid(Failure.BLOCK_MISSING, f"the record of {op.path}")
        for op in message.ops:
            _undo(op, tree)
        root = tree.root()
    except MstError as error:
        raise Invalid(Failure.TREE, str(error)) from error
    if root != before:
        raise Invalid(Failure.INVERSION, f"undone, the operations lead to {cid_text(root)}, not {cid_text(before)}")


def _undo(op: RepoOp, tree: Tree) -> None:
    path = op.path.encode()
    if op.action is Action.CREATE:
        tree.remove(path)
    elif op.prev is None:
        raise Invalid(Failure.PREV_MISSING, f"of {op.action} of {op.path}")
    elif op.action is Action.UPDATE:
        tree.replace(path, op.prev)
    else:
        tree.insert(path, op.prev)
