"""Commits: the object that an account signs, a `#commit` opened, and what becomes of it in Kafka."""

import msgspec
from libipld import encode_dag_cbor

from producers.atproto.protocol.car import Car, CarError, CarReason, read_car
from producers.atproto.protocol.cbor import CborError, decode, typed
from producers.atproto.protocol.cids import Cid, cid_text, is_cid
from producers.atproto.protocol.failures import Failure, Invalid
from producers.atproto.protocol.faults import shown
from producers.atproto.protocol.messages import CommitMessage, RepoOp, SyncMessage, time_of
from producers.atproto.protocol.records import RecordError, record_json
from producers.atproto.protocol.stored_car import StoredCar
from tallystick.contracts.atproto import Action, Did
from tallystick.contracts.atproto import Commit as CommitRecord
from tallystick.contracts.atproto import Op as OpRecord

VERSION = 3
MAX_COMMIT_BYTES = 2_000_000
MAX_COMMIT_BLOCKS = 20_000
MAX_SYNC_BYTES = 64 * 1024
"""The protocol has 10 kB, which is not worth to lose a repository for."""
MAX_JSON_BYTES = 12 * 1024 * 1024
"""How large the records of one commit may be together, as JSON: many operations may share one large block."""


class SignedCommit(msgspec.Struct, frozen=True):
    """The commit object: whose tree (`data`) it is at which revision. `unsigned` are the bytes that `sig` is for."""

    cid: Cid
    did: str
    rev: str
    data: Cid
    sig: bytes
    unsigned: bytes


class Commit(msgspec.Struct, frozen=True):
    """A `#commit` whose blocks are at hand."""

    message: CommitMessage
    signed: SignedCommit
    car: Car


class _Object(msgspec.Struct):
    did: Did
    version: int
    rev: str
    data: bytes
    sig: bytes
    prev: bytes | None = None


def open_commit(message: CommitMessage, *, check_hashes: bool) -> Commit:
    """Return a `#commit` with its CAR indexed and its commit object read, each block's hash compared where that is
    asked for. What the two say is compared elsewhere (`validation`). Raises Invalid.
    """
    car = _open_car(message.blocks, MAX_COMMIT_BYTES, check_hashes=check_hashes)
    return Commit(message, read_signed(message.commit, car), car)


def open_sync(message: SyncMessage, *, check_hashes: bool) -> SignedCommit:
    """Return the commit object of a `#sync`. Raises Invalid."""
    car = _open_car(message.blocks, MAX_SYNC_BYTES, check_hashes=check_hashes)
    return read_signed(car.root, car)


def _open_car(blocks: bytes, max_bytes: int, *, check_hashes: bool) -> Car:
    try:
        car = read_car(blocks, max_bytes=max_bytes, max_blocks=MAX_COMMIT_BLOCKS)
        if check_hashes:
            car.check_hashes()
    except CarError as error:
        match error.reason:
            case CarReason.HASH:
                raise Invalid(Failure.BLOCK_HASH, error.detail) from error
            case CarReason.TOO_LARGE:
                raise Invalid(Failure.BLOCKS_TOO_LARGE, error.detail) from error
            case _:
                raise Invalid(Failure.CAR_UNREADABLE, str(error)) from error
    return car


def read_signed(cid: Cid, car: Car | StoredCar) -> SignedCommit:
    """Return the commit object with this CID, of a commit or a whole repository. Raises Invalid."""
    if (block := car.get(cid)) is None:
        raise Invalid(Failure.COMMIT_UNREADABLE, f"its block is missing: {shown(cid.hex())}")
    try:
        fields = decode(block)
        found = typed(fields, _Object)
    except (CborError, msgspec.ValidationError) as error:
        raise Invalid(Failure.COMMIT_UNREADABLE, str(error)[:200]) from error
    if found.version != VERSION:
        raise Invalid(Failure.COMMIT_UNREADABLE, f"version {found.version}, {VERSION} is expected")
    if not is_cid(found.data):
        raise Invalid(Failure.COMMIT_UNREADABLE, f"data is no CID: {shown(found.data)}")
    if not isinstance(fields, dict) or encode_dag_cbor(fields) != block:
        raise Invalid(Failure.COMMIT_UNREADABLE, "not canonical, so that nobody knows which bytes were signed")
    del fields["sig"]
    return SignedCommit(cid, found.did, found.rev, found.data, found.sig, encode_dag_cbor(fields))


def commit_record(commit: Commit, *, host: str, live: bool) -> CommitRecord:
    """Return what goes into `atproto.commits`. A record that can't be shown is named as the problem of its operation,
    and takes none of the others with it.
    """
    message, shown_already, room = commit.message, dict[Cid, bytes](), MAX_JSON_BYTES
    ops = []
    for op in message.ops:
        record, problem = _record(op, commit.car, shown_already)
        if len(record) > room:
            record, problem = b"", "commit_too_large"
        room -= len(record)
        collection, _, rkey = op.path.partition("/")
        ops.append(
            OpRecord(
                action=op.action,
                collection=collection,
                rkey=rkey,
                cid=cid_text(op.cid) if op.cid else "",
                prev=cid_text(op.prev) if op.prev else "",
                record=msgspec.Raw(record) if record else msgspec.UNSET,
                problem=problem,
            )
        )
    return CommitRecord(
        did=message.repo,
        rev=message.rev,
        host=host,
        cid=cid_text(message.commit),
        data=cid_text(commit.signed.data),
        ops=tuple(ops),
        since=message.since or "",
        prev_data=cid_text(message.prev_data) if message.prev_data else "",
        seq=message.seq,
        time=time_of(message.time),
        live=live,
    )


def _record(op: RepoOp, car: Car, shown_already: dict[Cid, bytes]) -> tuple[bytes, str]:
    """Return the JSON of an operation's record, or why there is none."""
    if op.cid is None or op.action is Action.DELETE:
        return b"", ""
    if (record := shown_already.get(op.cid)) is not None:
        return record, ""
    if (block := car.get(op.cid)) is None:
        return b"", Failure.BLOCK_MISSING.value
    try:
        record = shown_already[op.cid] = record_json(block)
    except RecordError as error:
        return b"", str(error)
    return record, ""
