"""AT Protocol: what a host's streams and its repositories become in Kafka.

A commit is one record, keyed by the account's DID, so that the order of an account's commits survives partitions, and
no commit is ever half there. CIDs are text (`bafyrei...`); records are JSON in the form of
https://atproto.com/specs/data-model, where links are `{"$link": ...}` and bytes `{"$bytes": ...}`.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from tallystick.contracts.topics import Topic

SCHEMA = b"atproto/1"

COMMITS = Topic(
    name="atproto.commits",
    key="did",
    value="Commit",
    owner="producers/atproto",
    summary="Every commit of every repository that is followed: all its operations, with their records.",
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
TOPICS = (COMMITS, ACCOUNTS, IDENTITIES, LABELS)

Did = Annotated[
    str,
    msgspec.Meta(max_length=2048, pattern=r"\Adid:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]\Z"),
]
"""A decentralised identifier of any method."""
Seq = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""The number of an event in one host's stream of one kind; it ascends, with gaps."""

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


class Commit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One commit of one repository: the value of `atproto.commits`.

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


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `host` says about an account: whether it is active, and if not, why.

    `status` is one of takendown, suspended, deleted, deactivated, desynchronized, throttled, or any other word.
    """

    did: Did
    host: str
    active: bool
    seq: int = 0
    time: str = ""
    status: str = ""


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


def event_id(did: str, rev: str, path: str) -> tuple[str, str, str]:
    """Return the identity of one operation: whichever host it came from, and however often, it is the same event."""
    return (did, rev, path)


encode = msgspec.json.Encoder().encode
decode_commit = msgspec.json.Decoder(Commit).decode
decode_account = msgspec.json.Decoder(Account).decode
decode_identity = msgspec.json.Decoder(Identity).decode
decode_label = msgspec.json.Decoder(Label).decode
