"""The fold from commits to how a repository stands: `(state, event) -> state`, without I/O, clock or Kafka.

It decides what one message alone can't tell: whether a commit follows upon the last one, and so whether one is missing.
A repository that is not synchronised is to be fetched; what comes meanwhile is kept as links, and joined to the state
that was fetched. Links are kept in the order of their revs, so that it doesn't matter which of two hosts is ahead.

docs/explanation/atproto-repositories.md has the states as a table.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from streams.repositories.events import Account, Commit, Event, Fetched, Sync
from tallystick.contracts import timestamps
from tallystick.contracts.atproto import EMPTY_TREE, Break, Fetch, Link, Repository, RepositoryState
from tallystick.contracts.text import printable

MAX_LINKS = 200
"""So many links are kept while a fetch is open, the newest ones: enough for what comes while it takes."""
MAX_LINKS_UNASKED = 4
"""So many are kept while none is open: one that was asked for elsewhere, such as from a list, may come in between."""
MAX_FETCHES = 3
"""After so many fetches in a row that brought a state to which nothing can be joined the repository has failed."""
RETRY_SECONDS = 3600.0
"""After a first fetch that has failed another is asked for so much later at the earliest; after each further one, twice
as long."""
RETRY_MAX_SECONDS = 86_400.0
LOST_SECONDS = 7 * 86_400.0
"""A fetch of which nothing was heard for so long is asked for again: its topic's retention may have removed it."""

_MAX_PROBLEM_CHARS = 300
_MAX_STATUS_CHARS = 64
_GONE = frozenset({"takendown", "suspended", "deactivated", "deleted"})

Resync = Literal["off", "known", "all"]


class Moment(msgspec.Struct, frozen=True, gc=False):
    """When an event is folded: its offset in its partition, the time in canonical form, and what the settings allow."""

    offset: int
    at: str
    resync: Resync = "known"


def apply(state: Repository | None, event: Event, now: Moment) -> tuple[Repository | None, Fetch | None]:
    """Return the state after `event`, and the fetch that is to be asked for, if any.

    `state` is None for a repository that was never heard of. A repeat returns the very state that it was given, and
    asks for nothing: what a state has asked for was sent before the state was written.
    """
    after = _after(state, event, now)
    if after is None or after is state:
        return after, None
    after = replace(after, revision=after.revision + 1)
    return after, _fetch(after) if after.asked == now.offset else None


def _after(state: Repository | None, event: Event, now: Moment) -> Repository | None:
    match event:
        case Commit():
            return _commit(state, event, now)
        case Sync():
            return _sync(state, event, now)
        case Fetched():
            return _fetched(state, event, now) if event.whole or _answers(event, state) else state
        case Account():
            return _account(state, event, now)


def _answers(event: Fetched, state: Repository | None) -> bool:
    """Return whether a part is what was asked for here: all that the settings keep."""
    return state is not None and state.asked >= 0 and event.asked == state.asked_at


def _fetch(state: Repository) -> Fetch:
    # Where nothing newer is heard of, an older snapshot won't do: without a rev one is fetched in any case.
    newest = state.links[-1].rev if state.links else ""
    return Fetch(state.did, state.problem, state.asked_at, rev=newest if newest > state.rev else "")


def _new(did: str, now: Moment) -> Repository:
    return Repository(did, RepositoryState.DESYNCHRONISED, changed_at=now.at)


def _commit(state: Repository | None, event: Commit, now: Moment) -> Repository:
    if state is None:
        state = _new(event.did, now)
    elif event.rev <= state.rev:
        return state
    link = Link(event.since, event.rev, event.data, event.prev_data)
    if state.state is RepositoryState.SYNCHRONISED and _break(link, state.rev, state.data) is None:
        return replace(state, rev=event.rev, data=event.data)
    return _with_link(state, link, now)


def _sync(state: Repository | None, event: Sync, now: Moment) -> Repository:
    if state is None:
        state = _new(event.did, now)
    elif event.rev < state.rev or (event.rev == state.rev and event.data == state.data):
        return state
    return _with_link(state, Link(event.rev, event.rev, event.data), now)


def _with_link(state: Repository, link: Link, now: Moment) -> Repository:
    known = next((known for known in state.links if known.rev == link.rev), None)
    if known is not None and not _tells_more(link, known):
        return state
    links = sorted([*(other for other in state.links if other is not known), link], key=_rev)
    after = _settled(replace(state, links=tuple(links)), now)
    kept = after.links[-(MAX_LINKS if after.asked >= 0 else MAX_LINKS_UNASKED) :]
    if (after.rev, after.asked) == (state.rev, state.asked) and link not in kept and link in after.links:
        # Older than all for which there is room.
        return state
    return after if len(kept) == len(after.links) else replace(after, links=kept)


def _rev(link: Link) -> str:
    return link.rev


def _tells_more(link: Link, known: Link) -> bool:
    """Return whether `link` takes the place of a `known` one of the same rev, so that any order ends in the same.

    A commit tells what led to the same state as a sync's; a sync tells that the state is another than a commit's.
    """
    return _is_sync(link) != _is_sync(known) and (link.data == known.data) == _is_sync(known)


def _is_sync(link: Link) -> bool:
    return link.since == link.rev


def _break(link: Link, rev: str, data: str) -> Break | None:
    """Return why `link` does not lead on from the state (`rev`, `data`), or None where it does; no rev: no state."""
    if _is_sync(link):
        return Break.SYNC
    if link.since != rev:
        return Break.SINCE if rev else Break.UNKNOWN
    if not rev:
        return None if link.prev_data in {"", EMPTY_TREE} else Break.PREV_DATA
    if link.prev_data == data:
        return None
    return Break.PREV_DATA if link.prev_data else Break.PREV_DATA_MISSING


def _joined(state: Repository) -> tuple[Repository, Break | None]:
    """Return the state with all links joined that lead on from it, and why the first of the rest doesn't."""
    rev, data = state.rev, state.data
    for place, link in enumerate(state.links):
        if why := _break(link, rev, data):
            return (replace(state, rev=rev, data=data, links=state.links[place:]) if place else state), why
        rev, data = link.rev, link.data
    return replace(state, rev=rev, data=data, links=()), None if rev else Break.UNKNOWN


def _settled(state: Repository, now: Moment) -> Repository:
    """Return the state after something came that may join its links, or break them."""
    state, why = _joined(state)
    match state.state:
        case RepositoryState.INACTIVE:
            return _asked(state, state.problem, now) if _may_try_again(state, now) else state
        case _ if why is None:
            return _synchronised(state, now)
        case RepositoryState.FAILED:
            return _asked(state, why, now) if _may_try_again(state, now) else state
        case RepositoryState.FETCHING if state.asked >= 0:
            lost = timestamps.seconds_between(state.asked_at, now.at) > LOST_SECONDS and _is_wanted(state, now)
            return _asked(state, why, now) if lost else state
        case _:
            return _desynchronised(state, why, now)


def _synchronised(state: Repository, now: Moment) -> Repository:
    if state.state is RepositoryState.SYNCHRONISED:
        return state
    return replace(state, state=RepositoryState.SYNCHRONISED, problem="", fetches=0, changed_at=now.at)


def _desynchronised(state: Repository, why: str, now: Moment) -> Repository:
    if state.asked >= 0:
        return replace(state, state=RepositoryState.FETCHING, problem=why, changed_at=now.at)
    if _is_wanted(state, now):
        return _asked(state, why, now)
    since = state.changed_at if state.state is RepositoryState.DESYNCHRONISED else now.at
    return replace(state, state=RepositoryState.DESYNCHRONISED, problem=why, changed_at=since)


def _asked(state: Repository, why: str, now: Moment) -> Repository:
    return replace(
        state, state=RepositoryState.FETCHING, problem=why, asked=now.offset, asked_at=now.at, changed_at=now.at
    )


def _is_wanted(state: Repository, now: Moment) -> bool:
    return now.resync == "all" or (now.resync == "known" and state.rev != "")


def _may_try_again(state: Repository, now: Moment) -> bool:
    wait = min(RETRY_SECONDS * 2.0 ** max(state.fetches - 1, 0), RETRY_MAX_SECONDS)
    return state.asked < 0 and _is_wanted(state, now) and timestamps.seconds_between(state.changed_at, now.at) > wait


def _fetched(state: Repository | None, event: Fetched, now: Moment) -> Repository:
    if state is None:
        state = _new(event.did, now)
    elif event.attempt == state.attempt:
        return state
    state = replace(state, attempt=event.attempt, asked=-1, asked_at="")
    return _not_fetched(state, event, now) if event.problem else _whole(state, event, now)


def _whole(state: Repository, event: Fetched, now: Moment) -> Repository:
    if event.rev >= state.rev:
        links = tuple(link for link in state.links if link.rev > event.rev)
        state = replace(state, rev=event.rev, data=event.data, links=links)
    if state.state is RepositoryState.INACTIVE:
        if event.at <= state.status_at:
            return state
        # Its host gave it away after it was said to be inactive.
        state = replace(state, state=RepositoryState.DESYNCHRONISED, status="")
    state, why = _joined(state)
    return _synchronised(state, now) if why is None else _not_helped(state, why, now)


def _not_helped(state: Repository, why: str, now: Moment) -> Repository:
    state = replace(state, fetches=state.fetches + 1)
    if state.fetches >= MAX_FETCHES:
        return replace(state, state=RepositoryState.FAILED, problem=why, changed_at=now.at)
    return _desynchronised(state, why, now)


def _not_fetched(state: Repository, event: Fetched, now: Moment) -> Repository:
    problem = printable(event.problem)[:_MAX_PROBLEM_CHARS]
    if event.status in _GONE:
        if event.at < state.status_at and state.state is not RepositoryState.INACTIVE:
            # Since then its host has said that the account is active.
            return _not_helped(state, problem, now)
        status_at = max(state.status_at, event.at)
        state = replace(state, status=event.status, status_at=status_at, fetches=state.fetches + 1, problem=problem)
        return replace(state, state=RepositoryState.INACTIVE, changed_at=now.at)
    if state.state in {RepositoryState.SYNCHRONISED, RepositoryState.INACTIVE}:
        return state
    fetches = state.fetches + 1
    return replace(state, state=RepositoryState.FAILED, problem=problem, fetches=fetches, changed_at=now.at)


def _account(state: Repository | None, event: Account, now: Moment) -> Repository:
    # A time that is still to come would outlive every later word.
    said_at = min(event.time or now.at, now.at)
    if state is None:
        state = _new(event.did, now)
    if said_at < state.status_at:
        return state
    is_inactive = state.state is RepositoryState.INACTIVE
    if said_at == state.status_at and not (event.active and is_inactive):
        return state
    if event.active:
        state = replace(state, status="", status_at=said_at)
        if not is_inactive:
            return state
        state = replace(state, state=RepositoryState.DESYNCHRONISED, fetches=0)
        return _settled(state, now)
    status = printable(event.status)[:_MAX_STATUS_CHARS]
    since = state.changed_at if is_inactive else now.at
    return replace(
        state, state=RepositoryState.INACTIVE, status=status, status_at=said_at, problem="", changed_at=since
    )
