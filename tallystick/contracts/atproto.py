"""AT Protocol: what a host's streams and its repositories become in Kafka.

A commit is one record, keyed by the account's DID, so that the order of an account's commits survives partitions, and
no commit is ever half there. CIDs are text (`bafyrei...`); records are JSON in the form of
https://atproto.com/specs/data-model, where links are `{"$link": ...}` and bytes `{"$bytes": ...}`.

A repository that was fetched as a whole is sliced (`contracts/slices.py`, schema `atproto/1`) into `atproto.snapshots`:
its records in the order of their paths, each a `Stored`, then one `End`. Their slices have two headers more: `attempt`,
decimal, and `rev`, the revision that the repository had.
"""

from enum import StrEnum
from hashlib import sha256
from typing import Annotated

import msgspec

from tallystick.contracts.collections import Choice
from tallystick.contracts.pipelines import Balance, Inspected, Pipeline, Stage
from tallystick.contracts.topics import Topic

SCHEMA = b"atproto/1"

COMMITS = Topic(
    name="atproto.commits",
    key="did",
    value="RepositoryEvent",
    owner="producers/atproto",
    summary="Every commit of every repository that is followed, with its records; and what else tells how one stands.",
)
SNAPSHOTS = Topic(
    name="atproto.snapshots",
    key="did",
    value="Slice of JSON lines, each a Stored, the last an End",
    owner="producers/atproto",
    summary="Repositories that were fetched as a whole: all records that one had at one revision.",
)
REPOSITORIES = Topic(
    name="atproto.repositories",
    key="did",
    value="Repository",
    owner="streams/repositories",
    summary="How each repository stands: its last revision, and whether all that led to it is known.",
    cleanup="compact",
)
FETCHES = Topic(
    name="atproto.fetches",
    key="did",
    value="Fetch",
    owner="producers/atproto, streams/repositories",
    summary="Repositories that are to be fetched as a whole, for whoever does it.",
)
ACCOUNTS = Topic(
    name="atproto.accounts",
    key="did",
    value="Account",
    owner="producers/atproto",
    summary="What each host says about the status of each account.",
)
IDENTITIES = Topic(
    name="atproto.identities",
    key="did",
    value="Identity",
    owner="producers/atproto",
    summary="That the handle, the host or the keys of an account may have changed.",
)
LABELS = Topic(
    name="atproto.labels",
    key="uri",
    value="Label",
    owner="producers/atproto",
    summary="Every label, and every retraction of one, as its labeler signed it.",
)
NOTICES = Topic(
    name="atproto.notices",
    key="host",
    value="Notice",
    owner="producers/atproto",
    summary="What happened to the streams of hosts: gaps, cursors that were refused, silence, and what was done.",
)
TOPICS = (COMMITS, SNAPSHOTS, REPOSITORIES, FETCHES, ACCOUNTS, IDENTITIES, LABELS, NOTICES)

FIREHOSE_KIND = "atproto.firehose"
LABELS_KIND = "atproto.labels"
LISTING_KIND = "atproto.listing"
REPOSITORY_KIND = "atproto.repository"

_SNAPSHOT_SEEN = (("atproto_snapshots", SNAPSHOTS.name),)
PIPELINES = (
    Pipeline(kind=FIREHOSE_KIND, stages=(Stage("followed", Balance()),), endless=True),
    Pipeline(kind=LABELS_KIND, stages=(Stage("followed", Balance()),), endless=True),
    Pipeline(kind=LISTING_KIND, stages=(Stage("listed", Balance()),), silence_seconds=300.0),
    Pipeline(
        kind=REPOSITORY_KIND,
        stages=(
            Stage("fetched", Balance()),
            Stage("persisted", Inspected(claim="fetched", counts=("records",), observers=_SNAPSHOT_SEEN, digest=False)),
            Stage("verified", Inspected(claim="fetched", counts=("records", "stale"), observers=_SNAPSHOT_SEEN)),
        ),
        silence_seconds=300.0,
    ),
)
"""A stream has a cursor; a list of repositories an end; of a repository its record set must be that of the tree which
the account signed. `stale` are records that the database still has although the snapshot doesn't; none may be left."""

Did = Annotated[
    str,
    msgspec.Meta(max_length=2048, pattern=r"\Adid:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]\Z"),
]
"""A decentralised identifier of any method."""
Seq = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""The number of an event in one host's stream of one kind; it ascends, with gaps."""

EMPTY_TREE = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
"""The root of a tree that holds no record: where every repository begins."""

INVALID_HANDLE = "handle.invalid"
"""The protocol's word for a handle that can't be used."""


class Action(StrEnum):
    """What an operation does to a record."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Op(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One operation of a commit.

    `cid` is that of the record, empty for a delete; `prev` that of the record before, empty for a create and where the
    host didn't tell. `record` is its JSON; where there is none although there should be, `problem` says why.
    """

    action: Action
    collection: str
    rkey: str
    cid: str = ""
    prev: str = ""
    record: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    problem: str = ""

    @property
    def path(self) -> str:
        """Where the record lies in its repository."""
        return f"{self.collection}/{self.rkey}"


class Commit(msgspec.Struct, frozen=True, omit_defaults=True, tag="commit", tag_field="event"):
    """One commit of one repository.

    `rev` orders the commits of a repository, whichever host they came from; `since` is that of the one before, empty
    for the first. `cid` is the commit's own, `data` the root of its tree, `prev_data` that of the tree before, empty
    where the host didn't tell. `seq` is the position in the stream of `host`; 0 where it was no stream. `time` is the
    host's, canonical, empty where it was none. `live` is False for what was fetched, or replayed, to catch up.
    """

    did: Did
    rev: str
    host: str
    cid: str
    data: str
    ops: tuple[Op, ...] = ()
    since: str = ""
    prev_data: str = ""
    seq: int = 0
    time: str = ""
    live: bool = True


class Sync(msgspec.Struct, frozen=True, omit_defaults=True, tag="sync", tag_field="event"):
    """The state that a repository has now, by the commit `cid` that the account signed, without what led to it.

    If it isn't the state that is known, the repository is to be fetched.
    """

    did: Did
    rev: str
    host: str
    cid: str
    data: str
    seq: int = 0
    time: str = ""


class Fetched(msgspec.Struct, frozen=True, omit_defaults=True, tag="fetched", tag_field="event"):
    """The end of one try to fetch a repository as a whole from `host`.

    All of its records are in `atproto.snapshots`, where `problem` is empty; else it says why not, and `status` is the
    account's, where its host told one (`takendown`, `suspended`, `deactivated`, `deleted`). `whole` is False where only
    a part was asked for: some collections, or what changed since a revision. What the settings leave out is not missed.
    `asked` is `at` of the `Fetch` that it ends.
    """

    did: Did
    host: str
    attempt: int
    at: str
    rev: str = ""
    cid: str = ""
    data: str = ""
    records: int = 0
    whole: bool = True
    problem: str = ""
    status: str = ""
    asked: str = ""


class Account(msgspec.Struct, frozen=True, omit_defaults=True, tag="account", tag_field="event"):
    """What `host` says about an account: whether it is active, and if not, why.

    `status` is one of takendown, suspended, deleted, deactivated, desynchronized, throttled, or any other word.
    """

    did: Did
    host: str
    active: bool
    seq: int = 0
    time: str = ""
    status: str = ""


RepositoryEvent = Commit | Sync | Fetched | Account
"""What `atproto.commits` holds. An `Account` is there as well as in `atproto.accounts`, so that it keeps its place
among the account's commits."""


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account's identity may have changed: resolve it anew. `handle` is empty where the host didn't tell."""

    did: Did
    host: str
    seq: int = 0
    time: str = ""
    handle: str = ""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One label, as its source `src` signed it, or its retraction (`neg`): the value of `atproto.labels`.

    It is about `uri` (a record or an account), and about one version of it where `cid` is there. `cts` is when it was
    made, as it was signed; after `exp` it doesn't count. What the labeler left out is left out here, so that `sig`
    still holds for the rest.
    """

    src: Did
    uri: str
    val: str
    cts: str
    cid: str | msgspec.UnsetType = msgspec.UNSET
    neg: bool | msgspec.UnsetType = msgspec.UNSET
    exp: str | msgspec.UnsetType = msgspec.UNSET
    ver: int | msgspec.UnsetType = msgspec.UNSET
    sig: bytes = b""
    host: str = ""
    seq: int = 0

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What is labeled, with what, by whom: the newest label of an identity counts."""
        return (self.src, self.uri, self.val, "" if self.cid is msgspec.UNSET else self.cid)


class Stored(msgspec.Struct, frozen=True, omit_defaults=True, tag="record", tag_field="line", gc=False):
    """One record of a repository that was fetched as a whole. `problem` says why there is no JSON of it."""

    collection: str
    rkey: str
    cid: str
    record: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    problem: str = ""


class End(msgspec.Struct, frozen=True, omit_defaults=True, tag="end", tag_field="line"):
    """The last line of a snapshot: how many records there were, and the root of their tree that the account signed.

    `whole` is False also where the settings left something out: of a part, what isn't in it is not gone. Only where it
    has all records of the `collections` that were chosen, one that is in one of these and not in it is.
    """

    cid: str
    data: str
    records: int
    whole: bool = True
    collections: Choice = ()


SnapshotLine = Stored | End


class Fetch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A repository is to be fetched as a whole from the account's own host, or from `host` where that is given.

    It needs no fetch any more once a snapshot of `rev`, or of a later revision, is there. Of a part are wanted only the
    records of `collections` (patterns as in the settings), or what changed since the revision `since`.
    """

    did: Did
    why: str
    at: str
    host: str = ""
    rev: str = ""
    since: str = ""
    collections: tuple[str, ...] = ()


class Link(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A commit that came without being joined to a state that is known: it led from `since` to `rev`.

    A `Sync` tells only where its repository stands, so that of one `since` is its own `rev`.
    """

    since: str
    rev: str
    data: str
    prev_data: str = ""


class Break(StrEnum):
    """Why a repository is not synchronised: the `why` of the fetch that is asked for, named as in validation."""

    UNKNOWN = "unknown_before"
    """No state of it is known, and what came was not its first commit."""
    SINCE = "since_differs"
    """A commit does not follow upon the last one that is known: one is missing."""
    PREV_DATA = "prev_data_differs"
    """A commit follows upon another tree than the one that is known."""
    PREV_DATA_MISSING = "prev_data_missing"
    """The host does not tell upon which tree a commit follows."""
    SYNC = "sync"
    """The host says that it stands elsewhere, without what led there."""


class RepositoryState(StrEnum):
    """The three states of a repository in https://atproto.com/specs/sync, and two in which none is to be had."""

    DESYNCHRONISED = "desynchronised"
    FETCHING = "fetching"
    SYNCHRONISED = "synchronised"
    INACTIVE = "inactive"
    """Its account is not active, so that no host gives it away."""
    FAILED = "failed"
    """It could not be fetched, in more tries than are made."""


class Repository(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a repository stands: the value of `atproto.repositories`.

    `rev` and `data` are the last state that is known to be complete; empty where none is. `links` are the newest
    commits that came since without being joined to it, in the order of their revs. `problem` is why it is not
    synchronised: a `Break`, or what was wrong with the last fetch. `changed_at` is since when it stands so.
    `revision` counts the changes of the state.

    `status` is the account's where it is not active; `status_at` is when a host last told of it, active or not.
    `attempt` is that of the last fetch that ended, `fetches` how many in a row have not helped. `asked` is the offset
    of the event upon which the fetch that is still open was asked for, at `asked_at`; -1 where none is open.
    """

    did: str
    state: RepositoryState
    rev: str = ""
    data: str = ""
    links: tuple[Link, ...] = ()
    status: str = ""
    status_at: str = ""
    problem: str = ""
    fetches: int = 0
    attempt: int = 0
    asked: int = -1
    asked_at: str = ""
    changed_at: str = ""
    revision: int = 0


class NoticeKind(StrEnum):
    """What may happen to a stream."""

    GAP = "gap"
    """Between two events in a row numbers are missing; legal, as hosts leave out events of accounts that are gone."""
    OUTDATED_CURSOR = "outdated_cursor"
    """The host no longer has what follows the cursor: all between it and the next event is missing."""
    FUTURE_CURSOR = "future_cursor"
    """The host has not come as far as the cursor: its numbers were reset, or the cursor is another host's."""
    TOO_SLOW = "consumer_too_slow"
    SILENCE = "silence"
    """No event for `atproto.idle_seconds`, while the connection answers."""
    ZOMBIE = "zombie"
    """The connection answers nothing, not even pings."""
    DISCONNECTED = "disconnected"
    """The connection ended, or could not be made; `detail` says how."""
    FRAMING = "framing"
    """What came is no frame, so that the connection was dropped."""
    REFUSED = "refused"
    """The host refuses the stream for good, such as by HTTP 404."""


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened to a stream of `host`, and what was done about it (`action`).

    `before` is the last number that came before it, `after` the next one; 0 where there is none.
    """

    host: str
    stream: str
    kind: NoticeKind
    at: str
    action: str
    before: int = 0
    after: int = 0
    detail: str = ""


def stream_source_id(kind: str, host: str) -> str:
    """Return the id of a host's stream, or of its list of repositories, as a source."""
    return _short(f"{kind.removeprefix('atproto.')}:{host}")


def repository_source_id(did: str) -> str:
    """Return the id of a repository as a source: its DID, or a digest of one that is very long."""
    return _short(did)


def _short(name: str) -> str:
    if len(name) <= _MAX_SOURCE_CHARS:
        return name
    return f"{name[: _MAX_SOURCE_CHARS - 65]}:{sha256(name.encode()).hexdigest()}"


_MAX_SOURCE_CHARS = 200


def event_id(did: str, rev: str, path: str) -> tuple[str, str, str]:
    """Return the identity of one operation: whichever host it came from, and however often, it is the same event."""
    return (did, rev, path)


encode = msgspec.json.Encoder().encode
decode_commit = msgspec.json.Decoder(Commit).decode
decode_repository_event = msgspec.json.Decoder(RepositoryEvent).decode
decode_snapshot_line = msgspec.json.Decoder(SnapshotLine).decode
decode_repository = msgspec.json.Decoder(Repository).decode
decode_fetch = msgspec.json.Decoder(Fetch).decode
decode_notice = msgspec.json.Decoder(Notice).decode
decode_account = msgspec.json.Decoder(Account).decode
decode_identity = msgspec.json.Decoder(Identity).decode
decode_label = msgspec.json.Decoder(Label).decode
