"""The messages of `subscribeRepos` and `subscribeLabels`, typed. Fields that are not named here are ignored.

Sources: https://atproto.com/specs/sync#firehose, the lexicons com.atproto.sync.subscribeRepos and
com.atproto.label.subscribeLabels. Links are the bytes of their CIDs.
"""

import re
from typing import Annotated, TypeVar

import msgspec

from producers.atproto.protocol.cbor import typed
from producers.atproto.protocol.framing import ERROR, MESSAGE, Frame, FrameError, FrameReason, read_body, split_frame
from tallystick.contracts import timestamps
from tallystick.contracts.atproto import INVALID_HANDLE, Account, Action, Did, Identity, Seq

MAX_OPS = 200

FUTURE_CURSOR = "FutureCursor"
CONSUMER_TOO_SLOW = "ConsumerTooSlow"
OUTDATED_CURSOR = "OutdatedCursor"
"""Names of errors, and of an `#info`, that the protocol knows."""

Path = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9.-]{1,317}/[a-zA-Z0-9_~.:-]{1,512}\Z")]


class RepoOp(msgspec.Struct, frozen=True, gc=False):
    """One operation as the host announces it."""

    action: Action
    path: Path
    cid: bytes | None = None
    prev: bytes | None = None


class CommitMessage(msgspec.Struct, frozen=True, rename="camel"):
    """`#commit`: one commit of one repository. `blocks` is a CAR; `prev_data` the root of the tree before."""

    seq: Seq
    repo: Did
    commit: bytes
    rev: str
    blocks: bytes
    ops: list[RepoOp]
    since: str | None = None
    prev_data: bytes | None = None
    too_big: bool | None = False
    time: str = ""


class SyncMessage(msgspec.Struct, frozen=True):
    """`#sync`: the state of a repository, without what led to it. `blocks` is a CAR with the commit alone."""

    seq: Seq
    did: Did
    rev: str
    blocks: bytes
    time: str = ""


class IdentityMessage(msgspec.Struct, frozen=True):
    """`#identity`: the handle, the host or a key of an account may have changed."""

    seq: Seq
    did: Did
    time: str = ""
    handle: str | None = None


class AccountMessage(msgspec.Struct, frozen=True):
    """`#account`: the status of an account at this host."""

    seq: Seq
    did: Did
    active: bool
    time: str = ""
    status: str | None = None


class InfoMessage(msgspec.Struct, frozen=True):
    """`#info`: about the stream itself, such as `OutdatedCursor`: there is a gap, and the stream goes on."""

    name: str
    message: str | None = None


class LabelsMessage(msgspec.Struct, frozen=True):
    """`#labels`: labels, each still as it was read (`labels.read_label`), so that one can't spoil the others."""

    seq: Seq
    labels: list[dict[str, object]]


class ErrorMessage(msgspec.Struct, frozen=True):
    """The last frame of a stream: the host closes it, and says why."""

    error: str = ""
    message: str | None = None


class UnknownMessage(msgspec.Struct, frozen=True):
    """A frame of a kind that a later version of the protocol may define: to be ignored, and counted."""

    op: int
    type: str


Message = (
    CommitMessage
    | SyncMessage
    | IdentityMessage
    | AccountMessage
    | InfoMessage
    | LabelsMessage
    | ErrorMessage
    | UnknownMessage
)
T = TypeVar("T")


def read_message(message: bytes) -> Message:
    """Return what one binary WebSocket message says. Raises FrameError."""
    frame = split_frame(message)
    if frame.op == ERROR:
        return _convert(frame, ErrorMessage)
    if frame.op != MESSAGE:
        return UnknownMessage(frame.op, frame.type)
    match frame.type:
        case "#commit":
            return _convert(frame, CommitMessage)
        case "#sync":
            return _convert(frame, SyncMessage)
        case "#identity":
            return _convert(frame, IdentityMessage)
        case "#account":
            return _convert(frame, AccountMessage)
        case "#labels":
            return _convert(frame, LabelsMessage)
        case "#info":
            return _convert(frame, InfoMessage)
        case _:
            return UnknownMessage(frame.op, frame.type)


def seq_of(message: bytes) -> int:
    """Return the number of an event of which nothing else may be usable; 0 where it can't be told."""
    try:
        seq = read_body(split_frame(message)).get("seq")
    except FrameError:
        return 0
    return seq if isinstance(seq, int) and not isinstance(seq, bool) and 1 <= seq < 2**53 else 0


def _convert(frame: Frame, type_: type[T]) -> T:
    try:
        return typed(read_body(frame), type_)
    except msgspec.ValidationError as error:
        raise FrameError(FrameReason.FIELD, f"{frame.type}: {error}"[:200]) from error


_HANDLE = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_STATUS = re.compile(r"[a-zA-Z][a-zA-Z0-9_.#-]{0,63}")


def identity_of(message: IdentityMessage, host: str) -> Identity:
    """Return what goes into `atproto.identities`. A handle that is no domain name becomes `handle.invalid`: what is to
    be done, to resolve the identity anew, doesn't depend on it.
    """
    handle = (message.handle or "").lower()
    return Identity(
        did=message.did,
        host=host,
        seq=message.seq,
        time=time_of(message.time),
        handle=handle if not handle or _HANDLE.fullmatch(handle) else INVALID_HANDLE,
    )


def account_of(message: AccountMessage, host: str) -> Account:
    """Return what goes into `atproto.accounts`. A status that is no word becomes `other`; unknown words stay."""
    status = message.status or ""
    return Account(
        did=message.did,
        host=host,
        active=message.active,
        seq=message.seq,
        time=time_of(message.time),
        status=status if not status or _STATUS.fullmatch(status) else "other",
    )


def time_of(text: str) -> str:
    """Return a host's time in canonical form, empty where it is none: nothing is decided by it."""
    # Hosts write milliseconds; with three more zeros it is canonical, which is found much faster than any other form.
    filled = f"{text[:-1]}000Z" if len(text) == 24 and text[-1] == "Z" else text[:64]
    try:
        return timestamps.canonical(filled)
    except ValueError:
        return ""
