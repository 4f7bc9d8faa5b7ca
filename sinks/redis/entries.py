"""From the events of AT Protocol to the entries of rsky-ingester's streams: pure, names and fields as there.

What is there beyond it (`exp`, `ver` and `sig` of a label) is ignored by its consumers.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypedDict

import msgspec

from tallystick.contracts import atproto, timestamps
from tallystick.contracts.atproto import Account, Action, Commit, Fetch, Identity, Label, Op
from tallystick.contracts.tids import is_tid, tid_microseconds
from tallystick.contracts.topics import Topic
from tallystick.errors import ContractError

FIREHOSE, LABELS, BACKFILL = "firehose_live", "label_live", "repo_backfill"
STREAMS = {
    atproto.COMMITS.name: FIREHOSE,
    atproto.IDENTITIES.name: FIREHOSE,
    atproto.LABELS.name: LABELS,
    atproto.FETCHES.name: BACKFILL,
}
"""Which stream each topic feeds."""
SEQ_BACKFILL = -1
"""The number of what came from no stream."""


class Entry(msgspec.Struct, frozen=True):
    """An entry of `stream`: one field, whose value is JSON."""

    stream: str
    field: str
    value: bytes


class LeftOut(msgspec.Struct, frozen=True):
    """What has no form in these streams, and why."""

    reason: str


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    seq: int
    time: str
    did: str


class _Op(_Event, frozen=True, kw_only=True):
    commit: str
    rev: str
    collection: str
    rkey: str


class _OpFields(TypedDict):
    seq: int
    time: str
    did: str
    commit: str
    rev: str
    collection: str
    rkey: str


class _Create(_Op, frozen=True, kw_only=True, tag="create"):
    cid: str
    record: msgspec.Raw


class _Update(_Op, frozen=True, kw_only=True, tag="update"):
    cid: str
    record: msgspec.Raw


class _Delete(_Op, frozen=True, kw_only=True, tag="delete"):
    pass


class _Account(_Event, frozen=True, kw_only=True, tag="account"):
    active: bool
    status: str | None


class _Identity(_Event, frozen=True, kw_only=True, tag="identity"):
    handle: str


class _Label(msgspec.Struct, frozen=True, kw_only=True):
    src: str
    uri: str
    cid: str | None
    val: str
    neg: bool | None
    cts: str
    exp: str | msgspec.UnsetType = msgspec.UNSET
    ver: int | msgspec.UnsetType = msgspec.UNSET
    sig: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class _Labels(msgspec.Struct, frozen=True):
    seq: int
    labels: tuple[_Label, ...]


class _Repository(msgspec.Struct, frozen=True):
    did: str
    host: str
    rev: str
    status: str | None
    active: bool


_encode = msgspec.json.Encoder().encode


_decoders = {
    atproto.COMMITS.name: atproto.decode_repository_event,
    atproto.IDENTITIES.name: atproto.decode_identity,
    atproto.LABELS.name: atproto.decode_label,
    atproto.FETCHES.name: atproto.decode_fetch,
}

Event = atproto.RepositoryEvent | Identity | Label | Fetch


def decode(topic: Topic, value: bytes) -> Event:
    """Return what a record of `topic` tells. Raises ContractError where it is none of its topic."""
    try:
        event: Event = _decoders[topic.name](value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(str(error)[:300]) from error
    return event


def entries_of(event: Event, *, repository_host: str) -> Iterator[Entry | LeftOut]:
    """Yield the entries for `event`, in order; none for what these streams don't know.

    `repository_host` is asked by consumers for repositories of which no host is known.
    """
    match event:
        case Commit():
            time = event.time or _time_of(event.rev)
            for op in event.ops:
                yield _op(event, op, time)
        case Account():
            yield _account(event)
        case Identity():
            yield _identity(event)
        case Label():
            yield _label(event)
        case Fetch():
            yield Entry(
                BACKFILL, "repo", _encode(_Repository(event.did, event.host or repository_host, event.rev, None, True))
            )


def _account(event: Account) -> Entry:
    seq, time = event.seq or SEQ_BACKFILL, event.time or timestamps.now()
    return _event(_Account(seq=seq, time=time, did=event.did, active=event.active, status=event.status or None))


def _op(commit: Commit, op: Op, time: str) -> Entry | LeftOut:
    common: _OpFields = {
        "seq": commit.seq or SEQ_BACKFILL,
        "time": time,
        "did": commit.did,
        "commit": commit.cid,
        "rev": commit.rev,
        "collection": op.collection,
        "rkey": op.rkey,
    }
    if op.action is Action.DELETE:
        return _event(_Delete(**common))
    if op.record is msgspec.UNSET:
        return LeftOut("no_record")
    kind = _Create if op.action is Action.CREATE else _Update
    return _event(kind(cid=op.cid, record=op.record, **common))


def _identity(event: Identity) -> Entry | LeftOut:
    if not event.handle:
        return LeftOut("no_handle")
    seq, time = event.seq or SEQ_BACKFILL, event.time or timestamps.now()
    return _event(_Identity(seq=seq, time=time, did=event.did, handle=event.handle))


def _label(label: Label) -> Entry:
    told = _Label(
        src=label.src,
        uri=label.uri,
        cid=None if label.cid is msgspec.UNSET else label.cid,
        val=label.val,
        neg=None if label.neg is msgspec.UNSET else label.neg,
        cts=label.cts,
        exp=label.exp,
        ver=label.ver,
        sig={"$bytes": base64.b64encode(label.sig).decode().rstrip("=")} if label.sig else msgspec.UNSET,
    )
    return Entry(LABELS, "labels", _encode(_Labels(label.seq or SEQ_BACKFILL, (told,))))


def _event(event: _Event) -> Entry:
    return Entry(FIREHOSE, "event", _encode(event))


def _time_of(rev: str) -> str:
    if not is_tid(rev):
        return timestamps.now()
    return timestamps.render(datetime.fromtimestamp(tid_microseconds(rev) / 1_000_000, UTC))
