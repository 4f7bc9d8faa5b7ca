"""What the fold wants of the events in `atproto.commits`: all but the records, which are passed over unread."""

from typing import Annotated

import msgspec

from tallystick.contracts.atproto import Did
from tallystick.contracts.tids import is_tid
from tallystick.contracts.timestamps import are_canonical
from tallystick.errors import ContractError

_Tid = Annotated[str, msgspec.Meta(pattern=r"\A[234567a-j][234567a-z]{12}\Z")]
_TidOrNone = Annotated[str, msgspec.Meta(pattern=r"\A([234567a-j][234567a-z]{12})?\Z")]
_Cid = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,128}\Z")]
_CidOrNone = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{0,128}\Z")]


class Commit(msgspec.Struct, frozen=True, tag="commit", tag_field="event", gc=False):
    """See `tallystick.contracts.atproto.Commit`."""

    did: Did
    rev: _Tid
    data: _Cid
    since: _TidOrNone = ""
    prev_data: _CidOrNone = ""


class Sync(msgspec.Struct, frozen=True, tag="sync", tag_field="event", gc=False):
    """See `tallystick.contracts.atproto.Sync`."""

    did: Did
    rev: _Tid
    data: _Cid


class Fetched(msgspec.Struct, frozen=True, tag="fetched", tag_field="event", gc=False):
    """See `tallystick.contracts.atproto.Fetched`. Without a problem it has `rev` and `data`."""

    did: Did
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    at: str
    rev: _TidOrNone = ""
    data: _CidOrNone = ""
    whole: bool = True
    problem: str = ""
    status: str = ""
    asked: str = ""


class Account(msgspec.Struct, frozen=True, tag="account", tag_field="event", gc=False):
    """See `tallystick.contracts.atproto.Account`."""

    did: Did
    active: bool
    time: str = ""
    status: str = ""


_MAX_DETAIL_CHARS = 300

Event = Commit | Sync | Fetched | Account

_decode = msgspec.json.Decoder(Event).decode


def read_event(value: bytes, key: bytes) -> Event:
    """Return the event in a record of `atproto.commits`. Raises ContractError where there is none, or not of `key`."""
    try:
        event: Event = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(str(error)[:_MAX_DETAIL_CHARS]) from error
    if event.did.encode() != key:
        raise ContractError("its DID is not its key")
    match event:
        case Fetched():
            _check_fetched(event)
        case Account() if event.time and not are_canonical([event.time]):
            raise ContractError("its time is not in canonical form")
    return event


def _check_fetched(event: Fetched) -> None:
    if not are_canonical([event.at]):
        raise ContractError("its time is not in canonical form")
    if not event.problem and not (is_tid(event.rev) and event.data):
        raise ContractError("it tells of a repository without its rev and root")
