"""One page of a host's list of repositories, and what becomes of each entry: pure.

Source: https://docs.bsky.app/docs/api/com-atproto-sync-list-repos
"""

from collections.abc import Iterator, Sequence

import msgspec

from producers.atproto.protocol.faults import shown
from producers.outlet import Record
from tallystick.contracts import dead_letters
from tallystick.contracts.atproto import ACCOUNTS, COMMITS, FETCHES, Account, Did, Fetch, encode
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.text import printable
from tallystick.contracts.tids import is_tid
from tallystick.contracts.topics import DEAD_LETTERS

WHY = "backfill"
NO_REPOSITORY = "no entry of a list of repositories"
"""The reason of the letter of an entry that can't be understood."""
MAX_STATUS_CHARS = 128


class Page(msgspec.Struct, frozen=True):
    """A page as it came. Without a cursor it is the last one."""

    repos: list[msgspec.Raw]
    cursor: str = ""


class Options(msgspec.Struct, frozen=True):
    """What is wanted of the repositories: only accounts of `dids`, records of `collections`, changes since a revision;
    empty for all.
    """

    dids: frozenset[str] = frozenset()
    collections: tuple[str, ...] = ()
    since: str = ""


class Counts(msgspec.Struct, frozen=True):
    """What a page's entries became: `events` are fetches and accounts, `blank` those that nobody wants."""

    events: int
    dead: int
    blank: int


class _Entry(msgspec.Struct):
    did: Did
    rev: str = ""
    active: bool = True
    status: str | None = None


_decode_entry = msgspec.json.Decoder(_Entry).decode


def records_of(
    entries: Sequence[msgspec.Raw], options: Options, *, source: str, host: str, position: int, at: str
) -> tuple[list[Record], Counts]:
    """Return what is sent of a page whose first entry is the one at `position` of the whole list.

    An active account becomes a Fetch. Another one has no repository to be fetched, so what its host says of it is sent
    on, into both topics that tell of accounts. One bad entry is a dead letter, and takes no other with it.
    """
    records: list[Record] = []
    events = dead = blank = 0
    for number, raw in enumerate(entries, position):
        try:
            entry = _decode_entry(raw)
        except msgspec.MsgspecError as error:
            records += _letters(raw, source=source, position=number, problem=str(error), at=at)
            dead += 1
            continue
        if options.dids and entry.did not in options.dids:
            blank += 1
            continue
        records += _told(entry, options, host=host, at=at)
        events += 1
    return records, Counts(events, dead, blank)


def fetch_of(did: str, options: Options, *, at: str, rev: str = "", host: str = "", why: str = WHY) -> Record:
    """Return the request for one repository."""
    fetch = Fetch(did, why, at, host=host, rev=rev, since=options.since, collections=options.collections)
    return Record(FETCHES, did.encode(), encode(fetch))


def _told(entry: _Entry, options: Options, *, host: str, at: str) -> Iterator[Record]:
    if entry.active:
        yield fetch_of(entry.did, options, at=at, rev=entry.rev if is_tid(entry.rev) else "")
        return
    account = Account(entry.did, host, active=False, status=printable(entry.status or "")[:MAX_STATUS_CHARS])
    value = encode(account)
    for topic in (ACCOUNTS, COMMITS):
        yield Record(topic, entry.did.encode(), value)


def _letters(raw: msgspec.Raw, *, source: str, position: int, problem: str, at: str) -> Iterator[Record]:
    letter = DeadLetter(
        source=source, position=position, reason=NO_REPOSITORY, payload=bytes(raw), detail=shown(problem), at=at
    )
    for piece in dead_letters.pieces(letter):
        yield Record(DEAD_LETTERS, source.encode(), dead_letters.encode(piece))
