"""`subscribeRepos`: from messages to records, each checked by what it proves by itself.

Whatever needs the repository's last commit, such as the order of revisions, is judged by the agent of
`atproto.commits`, which has it: this process keeps nothing of repositories.
"""

import time
from collections.abc import Callable

import msgspec

from producers.atproto.directory import Identity, Unresolvable
from producers.atproto.filters import Filters
from producers.atproto.live.lanes import Lanes
from producers.atproto.live.measures import Measure
from producers.atproto.live.standings import Standings
from producers.atproto.live.stream import Stream
from producers.atproto.live.watermark import Entry
from producers.atproto.protocol.cids import cid_text
from producers.atproto.protocol.commits import commit_record
from producers.atproto.protocol.failures import Consequence, Failure, Invalid
from producers.atproto.protocol.messages import (
    AccountMessage,
    CommitMessage,
    IdentityMessage,
    Message,
    SyncMessage,
    account_of,
    identity_of,
    time_of,
)
from producers.atproto.protocol.validation import Level, Standing, validate_commit, validate_sync
from tallystick.contracts import timestamps
from tallystick.contracts.atproto import ACCOUNTS, COMMITS, FETCHES, IDENTITIES, Fetch, Op, Sync, encode
from tallystick.settings import AtprotoSettings

PATH = "/xrpc/com.atproto.sync.subscribeRepos"
LIVE_SECONDS = 60.0
"""A commit whose host's time is further back is one that was replayed."""


class _Work(msgspec.Struct, frozen=True, gc=False):
    """One message on its way, with the frame that it came in, and the era of standings that it came in."""

    entry: Entry
    message: Message
    frame: bytes
    did: str
    era: int


class Firehose:
    """Takes the messages of one host's repositories. All messages of an account are sent in the order they came in."""

    def __init__(
        self, stream: Stream, standings: Standings, settings: AtprotoSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._stream, self._standings, self._clock = stream, standings, clock
        self._level = Level[settings.validation.upper()]
        self._resync = settings.resync != "off"
        self._filters = Filters(settings)
        self._lanes: Lanes[_Work] = Lanes(self._attempt, self._finish)
        self._live_since, self._live_until = "", float("-inf")

    async def take(self, entry: Entry, message: Message, frame: bytes) -> bool:
        """Take a message, and release its entry once it is dealt with. False for one that is none of this stream."""
        match message:
            case CommitMessage():
                did = message.repo
            case SyncMessage() | IdentityMessage() | AccountMessage():
                did = message.did
            case _:
                return False
        if self._filters.keeps_account(did):
            self._lanes.take(did, _Work(entry, message, frame, did, self._standings.era))
        else:
            self._stream.measures.count(Measure.FILTERED, reason="account")
            entry.blank += 1
            self._stream.release(entry)
        return True

    def lost(self) -> None:
        """Take note that events are missing."""
        self._standings.begin_era()

    def check(self) -> None:
        """Raise what has gone wrong: nothing that is expected."""
        self._lanes.check()

    async def close(self) -> None:
        """Give up what waits for an identity; the cursor stays before it."""
        await self._lanes.close()

    def _attempt(self, work: _Work) -> bool:
        """Deal with a message unless the directory has to be asked first."""
        match work.message:
            case AccountMessage():
                self._send_account(work, work.message)
                return True
            case IdentityMessage():
                self._send_identity(work, work.message)
                return True
        identity = None
        if self._level >= Level.SIGNATURE and (identity := self._standings.known(work.did)) is None:
            return False
        return self._judge(work, identity, is_last=not self._standings.may_refresh(work.did))

    async def _finish(self, work: _Work) -> None:
        """Ask the directory, anew where it was known, then judge for good."""
        known = self._standings.known(work.did)
        answer = await self._standings.ask(work.did, fresh=known is not None)
        if isinstance(answer, Unresolvable):
            self._reject(work, Invalid(Failure.IDENTITY_UNRESOLVED, str(answer)))
        else:
            self._judge(work, answer, is_last=True)

    def _judge(self, work: _Work, identity: Identity | None, *, is_last: bool) -> bool:
        """Validate a commit or a sync and send what became of it; False where another identity might change that."""
        standing = None
        if identity is not None:
            standing = Standing(identity.key, identity.problem, active=self._standings.is_active(work.did, work.era))
        try:
            if isinstance(work.message, CommitMessage):
                self._send_commit(work, work.message, standing)
            elif isinstance(work.message, SyncMessage):
                self._send_sync(work, work.message, standing)
        except Invalid as invalid:
            if invalid.consequence is Consequence.REFRESH and not is_last:
                return False
            self._reject(work, invalid)
        return True

    def _send_commit(self, work: _Work, message: CommitMessage, standing: Standing | None) -> None:
        commit = validate_commit(
            message, level=self._level, now_us=int(self._clock() * 1_000_000), standing=standing, known=None
        )
        kept = [op for op in message.ops if self._filters.keeps_path(op.path)]
        if len(kept) < len(message.ops):
            commit = msgspec.structs.replace(commit, message=msgspec.structs.replace(message, ops=kept))
        record = commit_record(commit, host=self._stream.host.name, live=self._is_live(message.time))
        ops = tuple(op for op in record.ops if self._filters.keeps_languages(op))
        self._count(message, kept=len(kept), ops=ops)
        if len(ops) < len(record.ops):
            record = msgspec.structs.replace(record, ops=ops)
        self._stream.send(work.entry, COMMITS, key=work.did, value=encode(record))
        self._done(work)

    def _count(self, message: CommitMessage, *, kept: int, ops: tuple[Op, ...]) -> None:
        measures = self._stream.measures
        if kept < len(message.ops):
            measures.count(Measure.FILTERED, len(message.ops) - kept, reason="collection")
        if len(ops) < kept:
            measures.count(Measure.FILTERED, kept - len(ops), reason="language")
        for op in ops:
            measures.count(Measure.OPERATIONS, action=op.action.value)

    def _send_sync(self, work: _Work, message: SyncMessage, standing: Standing | None) -> None:
        now_us = int(self._clock() * 1_000_000)
        signed = validate_sync(message, level=self._level, now_us=now_us, standing=standing, known=None)
        record = Sync(
            did=message.did,
            rev=message.rev,
            host=self._stream.host.name,
            cid=cid_text(signed.cid),
            data=cid_text(signed.data),
            seq=message.seq,
            time=time_of(message.time),
        )
        self._stream.send(work.entry, COMMITS, key=work.did, value=encode(record))
        self._done(work)

    def _send_account(self, work: _Work, message: AccountMessage) -> None:
        self._standings.set_status(work.did, work.era, active=message.active)
        value = encode(account_of(message, self._stream.host.name))
        for topic in (COMMITS, ACCOUNTS):
            self._stream.send(work.entry, topic, key=work.did, value=value)
        self._done(work)

    def _send_identity(self, work: _Work, message: IdentityMessage) -> None:
        if self._level >= Level.SIGNATURE:
            self._standings.mark_stale(work.did)
        value = encode(identity_of(message, self._stream.host.name))
        self._stream.send(work.entry, IDENTITIES, key=work.did, value=value)
        self._done(work)

    def _reject(self, work: _Work, invalid: Invalid) -> None:
        self._stream.bury(work.entry, reason=invalid.reason.value, detail=invalid.detail, payload=work.frame)
        if invalid.consequence is Consequence.RESYNC and self._resync:
            self._ask_for_all(work, invalid.reason)
        self._stream.release(work.entry)

    def _ask_for_all(self, work: _Work, why: Failure) -> None:
        """Have the repository fetched. Its revision is only known by what the account has signed, which is checked
        before all such failures but that of a commit that is too big.
        """
        rev = ""
        if isinstance(work.message, CommitMessage) and why is not Failure.TOO_BIG:
            rev = work.message.rev
        fetch = Fetch(did=work.did, why=why.value, at=timestamps.now(), rev=rev)
        self._stream.send(work.entry, FETCHES, key=work.did, value=encode(fetch))

    def _done(self, work: _Work) -> None:
        work.entry.events += 1
        self._stream.release(work.entry)

    def _is_live(self, event_time: str) -> bool:
        """Return whether an event is of now; one whose time can't be read counts as such."""
        now = self._clock()
        if now >= self._live_until:
            self._live_since, self._live_until = timestamps.canonical(now - LIVE_SECONDS), now + 1.0
        return (time_of(event_time) or self._live_since) >= self._live_since
