"""From what travels of AT Protocol to rows. Pure; the order of each tuple is that of the columns beside it.

Of every table the columns begin with its key. Each function raises ContractError where no database holds what it is
given, or where it can't be true.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec
from blake3 import blake3

from sinks import schema
from sinks.atproto.marks import Mark, part_of
from sinks.raw_events import storable
from sinks.writers.base import Row
from sinks.writers.target import Target
from tallystick.contracts.atproto import (
    Account,
    Action,
    Commit,
    End,
    Identity,
    Label,
    Notice,
    Op,
    Repository,
    Stored,
)
from tallystick.contracts.cowrie import UnreadableLine
from tallystick.contracts.text import printable
from tallystick.contracts.tids import tid_number
from tallystick.contracts.timestamps import canonical
from tallystick.errors import ContractError

T = TypeVar("T")

RECORDS: Final = Target(
    table=schema.atproto_records,
    columns=(
        "did",
        "collection",
        "rkey",
        "revision",
        "rev",
        "cid",
        "value",
        "deleted",
        "problem",
        "host",
        "seq",
        "time",
        "fetched_revision",
        "fetched_attempt",
        "fetched_cid",
    ),
    key=("did", "collection", "rkey"),
)
REPOS: Final = Target(
    table=schema.atproto_repos,
    columns=tuple(column.name for column in schema.atproto_repos.columns),
    key=("did",),
)
SNAPSHOTS: Final = Target(
    table=schema.atproto_snapshots,
    columns=("did", "attempt", "revision", "rev", "whole", "cid", "data", "records", "collections"),
    key=("did",),
)
PARTS: Final = Target(
    table=schema.atproto_fetched_parts,
    columns=("did", "part", "collections", "revision", "rev"),
    key=("did", "part"),
)
ACCOUNTS: Final = Target(
    table=schema.atproto_accounts,
    columns=("did", "host", "revision", "seq", "active", "status", "time"),
    key=("did", "host"),
)
IDENTITIES: Final = Target(
    table=schema.atproto_identities,
    columns=("did", "revision", "seq", "handle", "host", "time"),
    key=("did",),
)
LABELS: Final = Target(
    table=schema.atproto_labels,
    columns=(
        "src",
        "uri",
        "val",
        "cid",
        "revision",
        "neg",
        "sig",
        "did",
        "cts",
        "exp",
        "expires_at",
        "ver",
        "host",
        "seq",
    ),
    key=("src", "uri", "val", "cid"),
)
HISTORY: Final = Target(
    table=schema.atproto_label_history,
    columns=("digest", "src", "uri", "val", "cid", "neg", "cts", "exp", "ver", "sig", "host", "seq"),
    key=("digest",),
)
NOTICES: Final = Target(
    table=schema.atproto_notices,
    columns=("digest", "host", "stream", "kind", "at", "action", "before_seq", "after_seq", "detail"),
    key=("digest",),
)

HEAD_COLUMNS: Final = ("revision", "rev", "cid", "data", "host", "time")
"""What the newest commit tells of a repository."""
FETCHED_COLUMNS: Final = (
    "fetched_revision",
    "fetched_attempt",
    "fetched_rev",
    "fetched_cid",
    "fetched_data",
    "fetched_records",
)
"""What the newest snapshot of the whole tells of it."""
STATE_COLUMNS: Final = ("state", "known_rev", "problem", "account_status", "fetches", "changed_at")
"""What `atproto.repositories` tells of it."""
ESCAPED: Final = "escaped"
"""The problem of a record whose value is not, to the letter, what was signed."""

_LARGE = 1 << 63
_DIGEST_BYTES = 16
_NO_TIME = 1
_CID = re.compile(r"b[a-z2-7]{58}")
_COLLECTION = re.compile(r"[a-zA-Z0-9.-]{1,317}")
_RKEY = re.compile(r"[a-zA-Z0-9_~.:-]{1,512}")
_NUMBER = re.compile(rb"[0-9]{1,18}")
"""So many digits always are a number of 64 bits."""
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """Which snapshot a line is of."""

    did: str
    attempt: int
    revision: int
    rev: str


def revision(rev: str) -> int:
    """Return a revision as a number."""
    try:
        return tid_number(rev)
    except ValueError as error:
        raise ContractError(f"a revision is no TID: {printable(rev[:32])!r}") from error


def attempt(header: object) -> int:
    """Return an attempt, as the header of a slice tells it."""
    if not isinstance(header, bytes) or not _NUMBER.fullmatch(header):
        raise ContractError(f"not a slice of a snapshot: its attempt is {header!r}, and must be a number")
    return int(header)


def record(commit: Commit, op: Op) -> Row:
    """Return the row of `RECORDS` that an operation makes."""
    _require_path(op.collection, op.rkey)
    gone = op.action is Action.DELETE
    value, problem = (None, "") if gone else _value(op.record, op.problem)
    return (
        commit.did,
        op.collection,
        op.rkey,
        revision(commit.rev),
        commit.rev,
        None if gone else _cid(op.cid),
        value,
        gone,
        problem,
        printable(commit.host),
        commit.seq,
        _moment(commit.time),
        None,
        None,
        None,
    )


def head(commit: Commit) -> Row:
    """Return the row of `REPOS` of which the HEAD_COLUMNS count."""
    _require(commit.seq)
    told = {
        "did": commit.did,
        "revision": revision(commit.rev),
        "rev": commit.rev,
        "cid": _cid(commit.cid),
        "data": _cid(commit.data),
        "host": printable(commit.host),
        "time": _moment(commit.time),
    }
    return _repo(told)


def stored(snapshot: Snapshot, found: Stored) -> Row:
    """Return the row of `RECORDS` of a record in a snapshot."""
    _require_path(found.collection, found.rkey)
    cid = _cid(found.cid)
    value, problem = _value(found.record, found.problem)
    live = (snapshot.revision, snapshot.rev, cid, value, False, problem, "", 0, None)
    return (
        snapshot.did,
        found.collection,
        found.rkey,
        *live,
        snapshot.revision,
        snapshot.attempt,
        cid,
    )


def gone(row: Row, mark: Mark) -> Row:
    """Return what is left of a row of `RECORDS` that is not above its mark: nothing, if only that."""
    return (*row[:3], mark.revision, mark.rev, None, None, True, "", "", 0, None, None, None, None)


def snapshot_end(snapshot: Snapshot, found: End) -> Row:
    """Return the row of `SNAPSHOTS`."""
    _require(found.records)
    return (
        snapshot.did,
        snapshot.attempt,
        snapshot.revision,
        snapshot.rev,
        found.whole,
        _cid(found.cid),
        _cid(found.data),
        found.records,
        part_of(found.collections) if found.collections else "",
    )


def fetched(end: Row) -> Row:
    """Return the row of `REPOS`, of which the FETCHED_COLUMNS count, of one of `SNAPSHOTS`."""
    told = dict(zip(SNAPSHOTS.columns, end, strict=True))
    named = {f"fetched_{name}": told[name] for name in ("revision", "attempt", "rev", "cid", "data", "records")}
    return _repo({"did": told["did"], **named})


def fetched_part(did: str, collections: str, mark: Mark) -> Row:
    """Return the row of `PARTS`."""
    return (did, blake3(collections.encode()).hexdigest(_DIGEST_BYTES), collections, mark.revision, mark.rev)


def standing(found: Repository) -> Row:
    """Return the row of `REPOS`, of which the STATE_COLUMNS count."""
    _require(found.fetches)
    if found.rev:
        revision(found.rev)
    told = {
        "did": found.did,
        "state": found.state.value,
        "known_rev": found.rev,
        "problem": printable(found.problem),
        "account_status": printable(found.status),
        "fetches": found.fetches,
        "changed_at": _moment(found.changed_at),
    }
    return _repo(told)


def account(found: Account) -> Row:
    """Return the row of `ACCOUNTS`."""
    _require(found.seq)
    time = _moment(found.time)
    return (
        found.did,
        printable(found.host),
        _microseconds(time),
        found.seq,
        found.active,
        printable(found.status),
        time,
    )


def identity(found: Identity) -> Row:
    """Return the row of `IDENTITIES`."""
    _require(found.seq)
    time = _moment(found.time)
    return (found.did, _microseconds(time), found.seq, printable(found.handle), printable(found.host), time)


def label(found: Label) -> Row:
    """Return the row of `LABELS`."""
    ver = _given(found.ver)
    _require(found.seq, ver or 0)
    expires = _given(found.exp)
    return (
        *map(printable, found.identity),
        _microseconds(_moment(found.cts)),
        found.neg is True,
        found.sig,
        printable(found.uri.removeprefix("at://").partition("/")[0]),
        printable(found.cts),
        None if expires is None else printable(expires),
        None if expires is None else _moment(expires),
        ver,
        printable(found.host),
        found.seq,
    )


def label_as_told(found: Label) -> Row:
    """Return the row of `HISTORY`: whoever sends it, and however often, it is the same one."""
    signed = msgspec.structs.replace(found, host="", seq=0)
    cid, exp = _given(found.cid), _given(found.exp)
    return (
        blake3(_encode(signed)).digest(_DIGEST_BYTES),
        found.src,
        printable(found.uri),
        printable(found.val),
        None if cid is None else printable(cid),
        _given(found.neg),
        printable(found.cts),
        None if exp is None else printable(exp),
        _given(found.ver),
        found.sig,
        printable(found.host),
        found.seq,
    )


def notice(found: Notice) -> Row:
    """Return the row of `NOTICES`."""
    _require(found.before, found.after)
    return (
        blake3(_encode(found)).digest(_DIGEST_BYTES),
        printable(found.host),
        printable(found.stream),
        found.kind.value,
        _moment(found.at),
        printable(found.action),
        found.before,
        found.after,
        printable(found.detail),
    )


def greatest(target: Target, rows: Iterable[Row], by: Sequence[str]) -> list[Row]:
    """Return of each key the row that is greatest by the columns `by`, the first of those that are equal."""
    size, places = len(target.key), [target.columns.index(name) for name in by]
    found: dict[Row, tuple[Row, Row]] = {}
    for row in rows:
        key, rank = row[:size], tuple(row[place] for place in places)
        if key not in found or found[key][0] < rank:
            found[key] = (rank, row)
    return [row for _, row in found.values()]


_encode = msgspec.json.Encoder(order="deterministic").encode
_REPO_PLACES = {name: place for place, name in enumerate(REPOS.columns)}


def _repo(told: Mapping[str, object]) -> Row:
    row: list[object] = [None] * len(REPOS.columns)
    for name, value in told.items():
        row[_REPO_PLACES[name]] = value
    return tuple(row)


def _value(raw: msgspec.Raw | msgspec.UnsetType, problem: str) -> tuple[str | None, str]:
    if raw is msgspec.UNSET:
        return None, printable(problem)
    line = bytes(raw)
    if line[:1] != b"{":
        raise ContractError(f"a record is no JSON object: {line[:80]!r}")
    try:
        shown = storable(line)
    except UnreadableLine as error:
        raise ContractError(f"a record can't be shown: {error}") from error
    return shown.decode(), printable(problem) or ("" if shown is line else ESCAPED)


def _given(value: T | msgspec.UnsetType) -> T | None:
    return None if value is msgspec.UNSET else value


def _moment(text: str) -> str | None:
    try:
        return canonical(text) if text else None
    except ValueError as error:
        raise ContractError(str(error)) from error


def _microseconds(time: str | None) -> int:
    if time is None:
        return _NO_TIME
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1)


def _cid(text: str) -> str:
    if not _CID.fullmatch(text):
        raise ContractError(f"not a CID: {printable(text[:80])!r}")
    return text


def _require_path(collection: str, rkey: str) -> None:
    if not _COLLECTION.fullmatch(collection) or not _RKEY.fullmatch(rkey):
        raise ContractError(f"not the path of a record: {printable(f'{collection}/{rkey}'[:80])!r}")


def _require(*numbers: int) -> None:
    for number in numbers:
        if not -_LARGE <= number < _LARGE:
            raise ContractError(f"a number is larger than databases hold: {number}")
