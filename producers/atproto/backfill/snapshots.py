"""A repository that was fetched, from the CAR to slices of `atproto.snapshots`: pure, step by step, bounded.

Nothing that a host sends is trusted: what is checked is told by `atproto.validation`, and what costs more than the CAR
itself (one block that a million paths name) has a limit.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import msgspec
import xxhash

from producers.atproto.protocol.car import Bytes
from producers.atproto.protocol.cids import Cid, cid_text
from producers.atproto.protocol.commits import SignedCommit, read_signed
from producers.atproto.protocol.failures import Failure, Invalid
from producers.atproto.protocol.faults import Refusal, shown
from producers.atproto.protocol.mst import walk, walk_present
from producers.atproto.protocol.records import RecordError, record_json
from producers.atproto.protocol.signatures import PublicKey
from producers.atproto.protocol.stored_car import StoredCar, read_stored_car
from tallystick.contracts import slices
from tallystick.contracts.atproto import SCHEMA, Action, End, Op, Stored, encode
from tallystick.contracts.collections import Choice, is_chosen
from tallystick.contracts.slices import Headers
from tallystick.contracts.tids import MAX_AHEAD_US, is_tid, tid_microseconds

SLICE_BYTES = 512 * 1024
MAX_BLOCKS = 8_000_000
MAX_NODES = 4_000_000
_LINES_PER_SLICE = 20_000
_MOST_GROWTH = 8
_FREE_BYTES = 64 * 1024 * 1024
"""The JSON of a repository may be `_MOST_GROWTH` times as large as its CAR, and so much besides."""


class SnapshotReason(StrEnum):
    """Why a tree that is sound yields no snapshot."""

    RECORD_MISSING = "record_missing"
    TOO_LARGE = "snapshot_too_large"


class SnapshotError(Refusal[SnapshotReason]):
    """A repository can't be told as a snapshot."""


class Wanted(msgspec.Struct, frozen=True):
    """Which part of a repository is wanted: records of `collections`, and what has changed since `since`."""

    collections: Choice = ()
    since: str = ""


class Opened(msgspec.Struct, frozen=True):
    """A repository whose blocks are found, and whose commit says of whom it is, and when."""

    car: StoredCar
    signed: SignedCommit


def open_repository(data: Bytes, did: str, *, max_bytes: int, now_us: int) -> Opened:
    """Return the repository of `did` in a CAR, no block of it compared and no signature verified yet.

    Raises CarError, and Invalid where its commit is unreadable, another account's, or of a revision that can't be.
    """
    car = read_stored_car(data, max_bytes=max_bytes, max_blocks=MAX_BLOCKS)
    signed = read_signed(car.root, car)
    if signed.did != did:
        raise Invalid(Failure.DID, f"{shown(signed.did)} instead of {shown(did)}")
    if not is_tid(signed.rev):
        raise Invalid(Failure.REV_MALFORMED, shown(signed.rev))
    if tid_microseconds(signed.rev) > now_us + MAX_AHEAD_US:
        raise Invalid(Failure.REV_FUTURE, signed.rev)
    return Opened(car, signed)


def check_signature(signed: SignedCommit, key: PublicKey | None, problem: str) -> None:
    """Raise Invalid where the commit is not signed by `key`; `problem` says why there is none."""
    if key is None:
        raise Invalid(Failure.SIGNATURE, problem or "the account has no key")
    if (wrong := key.problem_of(signed.sig, signed.unsigned)) is not None:
        raise Invalid(Failure.SIGNATURE, wrong.value)


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One record for `atproto.snapshots`."""

    value: bytes
    headers: Headers


class Snapshot:
    """The slices of one repository. `steps` makes them; the counts and the digest are known once it has ended."""

    def __init__(
        self,
        opened: Opened,
        wanted: Wanted,
        *,
        source: str,
        attempt: int,
        keeps: Callable[[Op], bool] | None = None,
    ) -> None:
        """`keeps` is asked of every record that is wanted whether it is kept, as the operation that would create it."""
        self.cid, self.data = cid_text(opened.signed.cid), cid_text(opened.signed.data)
        self.records = 0
        self.digest = ""
        self._opened, self._wanted, self._keeps = opened, wanted, keeps
        self._source = source.encode()
        self._headers: Headers = [("attempt", b"%d" % attempt), ("rev", opened.signed.rev.encode())]
        self._room = _MOST_GROWTH * len(opened.car.data) + _FREE_BYTES
        self._sent = 0

    @property
    def lines(self) -> int:
        """How many lines its slices hold: its records and the end."""
        return self.records + 1

    def steps(self, *, check_hashes: bool) -> Iterator[Piece | None]:
        """Yield the slices in order, the last with the `End`; None for some work that has yielded none.

        Raises CarError, MstError and SnapshotError, in the midst of it: what was yielded before is then no snapshot.
        """
        if check_hashes:
            for _ in self._opened.car.check_hashes():
                yield None
        lines: list[bytes] = []
        size = 0
        digest = xxhash.xxh3_64()
        complete = not self._wanted.since and self._keeps is None
        chosen = self._wanted.collections
        whole = complete and not chosen
        for path, cid, block in self._records():
            stored = _stored(path, cid, block)
            line = encode(stored)
            self._charge(path, max(len(line), len(block)))
            if self._keeps is not None and not self._keeps(_created(stored)):
                continue
            if not whole:
                digest.update(f"{path} {cid_text(cid)}\n".encode())
            if lines and (size + len(line) > SLICE_BYTES or len(lines) == _LINES_PER_SLICE):
                yield self._piece(lines)
                lines, size = [], 0
            lines.append(line)
            self.records += 1
            size += len(line)
        self.digest = f"root:{self.data}" if whole else f"lines:{digest.hexdigest()}"
        end = End(self.cid, self.data, self.records, whole=whole, collections=chosen if complete else ())
        lines.append(encode(end))
        yield self._piece(lines)

    def _charge(self, path: str, size: int) -> None:
        """Raise SnapshotError where what was made of the CAR is out of all proportion to it."""
        self._room -= size
        if self._room < 0:
            raise SnapshotError(SnapshotReason.TOO_LARGE, f"its records are far larger than its CAR: {shown(path)}")

    def _records(self) -> Iterator[tuple[str, Cid, bytes]]:
        car, root = self._opened.car, self._opened.signed.data
        walking: Callable[..., Iterator[tuple[str, Cid]]] = walk_present if self._wanted.since else walk
        for path, cid in walking(root, car.get, max_nodes=MAX_NODES):
            if not is_chosen(self._wanted.collections, path.partition("/")[0]):
                continue
            block = car.get(cid)
            if block is not None:
                yield path, cid, block
            elif not self._wanted.since:
                raise SnapshotError(SnapshotReason.RECORD_MISSING, f"{shown(path)}, {cid_text(cid)}")

    def _piece(self, lines: Sequence[bytes]) -> Piece:
        first, self._sent = self._sent, self._sent + len(lines)
        value, headers = slices.encode(self._source, SCHEMA, first, range(first, self._sent), lines)
        return Piece(value, [*headers, *self._headers])


def _stored(path: str, cid: Cid, block: bytes) -> Stored:
    collection, _, rkey = path.partition("/")
    try:
        return Stored(collection, rkey, cid_text(cid), msgspec.Raw(record_json(block)))
    except RecordError as error:
        return Stored(collection, rkey, cid_text(cid), problem=str(error))


def _created(stored: Stored) -> Op:
    return Op(Action.CREATE, stored.collection, stored.rkey, stored.cid, record=stored.record)
