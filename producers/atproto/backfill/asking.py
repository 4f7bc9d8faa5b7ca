"""What a user asks for, checked before anything begins."""

import re
from collections.abc import Sequence

import msgspec

from producers.atproto.backfill.pages import Options
from producers.atproto.protocol.faults import shown
from tallystick.contracts.atproto import Did
from tallystick.contracts.tids import is_tid
from tallystick.errors import UsageError

_PATTERN = re.compile(r"[a-zA-Z0-9.*-]{1,317}")


def options_of(collections: Sequence[str], since: str) -> Options:
    """Return what is wanted of each repository, if it can be meant. Raises UsageError."""
    for pattern in collections:
        if not _PATTERN.fullmatch(pattern):
            raise UsageError(f"no collection: {shown(pattern)}; give a name, or a pattern such as app.bsky.*")
    if since and not is_tid(since):
        raise UsageError(f"no revision: {shown(since)}; one has 13 characters, such as 3mcuq2xqd2k2a")
    return Options(collections=tuple(collections), since=since)


def check_dids(dids: Sequence[str], kept: Sequence[str] = ()) -> None:
    """Raise UsageError for what is no DID, and for an account that is not among those that are `kept`, if any are."""
    for did in dids:
        try:
            msgspec.convert(did, Did)
        except msgspec.ValidationError as error:
            raise UsageError(f"no DID: {shown(did)}; one looks like did:plc:..., a handle is none") from error
        if kept and did not in kept:
            raise UsageError(f"{did} is not among the accounts that are kept (atproto.dids); it would not be fetched")
