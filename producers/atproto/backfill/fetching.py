"""One repository fetched as a whole: asked for, checked, sliced, and told of.

The order of what is told, each step awaited before the next:

1. `Started`, which is said again while it lasts; an attempt is the time at which a try began
2. the slices, the last one with the `End`
3. `Fetched` in `atproto.commits`, and the claim: or, after the last try, `Fetched` with its problem, and `Failed`
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec

from producers.atproto.backfill.downloads import GET_REPO, Limits, download, mapped, scratch
from producers.atproto.backfill.pacing import Hosts, Pace, Turn
from producers.atproto.backfill.sending import Batch, Sender
from producers.atproto.backfill.snapshots import Opened, Piece, Snapshot, Wanted, check_signature, open_repository
from producers.atproto.backfill.verdicts import RATE_LIMITED, Again, Lost, Moved, Verdict, verdict_on
from producers.atproto.counters import Counters
from producers.atproto.directory import Directory, Identity, Unresolvable
from producers.atproto.filters import Filters
from producers.atproto.hosts import Host, host_of
from producers.atproto.http import Transient, Web
from producers.atproto.protocol.failures import Failure, Invalid
from producers.claims import Attempt
from producers.outlet import Record
from tallystick.contracts import timestamps
from tallystick.contracts.atproto import (
    COMMITS,
    REPOSITORY_KIND,
    SNAPSHOTS,
    Fetch,
    Fetched,
    encode,
    repository_source_id,
)
from tallystick.contracts.collections import chosen
from tallystick.contracts.text import printable
from tallystick.contracts.topics import STAGES
from tallystick.errors import TallyError, UsageError
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

STAGE = "fetched"
FOLDER = "fetching"
"""Where repositories lie while they are read, below `TALLY_HOME`."""
MAX_PROBLEM_CHARS = 500
_HASHED = {"hash", "signature", "inductive"}
_SIGNED = {"signature", "inductive"}
_MANY_HOSTS = 100


class _Ended:
    """What stands behind the last step."""


_ENDED = _Ended()
T = TypeVar("T")


class _Snapshot(msgspec.Struct, gc=False):
    """The newest whole snapshot of a repository that this process has sent: its revision, and when it was begun."""

    rev: str
    begun_at: str


class _Work:
    """A repository on its way. `refreshed` once its identity was resolved anew: that is done once."""

    def __init__(self, fetch: Fetch, wanted: Wanted) -> None:
        self.fetch, self.wanted = fetch, wanted
        # What the settings leave out, nobody misses: then it is known how the repository stands.
        self.whole = not fetch.since and not fetch.collections
        self.source = repository_source_id(fetch.did)
        self.identity: Identity | None = None
        self.refreshed = False
        self.host = ""
        self.begun_at = ""
        self.attempt: Attempt | None = None


class Fetching:
    """Fetches repositories, several at a time. Belongs to one event loop."""

    def __init__(
        self,
        settings: Settings,
        web: Web,
        directory: Directory,
        sender: Sender,
        counters: Counters,
        *,
        pace: Pace | None = None,
        window: float = 30.0,
    ) -> None:
        """`window` is over how many seconds the speed of a host is looked at."""
        mine = settings.atproto
        self._settings, self._web, self._directory = settings, web, directory
        self._sender, self._counters, self._pace = sender, counters, pace or Pace()
        self._limits = Limits(mine.fetch_bytes, mine.fetch_seconds, mine.fetch_slowest, window)
        self._hosts = Hosts(at_once=mine.fetchers, per_host=mine.fetchers_per_host, pace=self._pace)
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="repository")
        self._filters = Filters(mine)
        self._known: OrderedDict[str, _Snapshot] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._working: set[_Work] = set()
        self._limited: set[str] = set()
        self._last_attempt = 0

    async def fetch(self, fetch: Fetch) -> None:
        """Do what `fetch` asks for, to its last word, which Kafka has when this returns.

        Takes as long as all tries and all waiting for hosts do. Raises ServiceError and StorageError for what is wrong
        with this machine or with Kafka, never for what a host sends.
        """
        async with self._alone(fetch.did):
            if reason := self._needless(fetch):
                self._counters.count("fetches_total", outcome=reason)
                return
            work = _Work(fetch, Wanted(chosen(self._settings.atproto.collections, fetch.collections), fetch.since))
            self._working.add(work)
            try:
                await self._try_often(work)
            finally:
                self._working.discard(work)

    def beat(self) -> None:
        """Say of everything that is under way that it is. Cheap: call often."""
        for work in self._working:
            if work.attempt is not None:
                work.attempt.beat()

    def close(self) -> None:
        """Let go of the threads, once they have finished their steps."""
        self._threads.shutdown(cancel_futures=True)

    @asynccontextmanager
    async def _alone(self, did: str) -> AsyncIterator[None]:
        """Let only one fetch of a repository be under way, so that no slices of two get mixed."""
        if (lock := self._locks.get(did)) is None:
            lock = self._locks[did] = asyncio.Lock()
        async with lock:
            yield

    def _needless(self, fetch: Fetch) -> str:
        """Return why there is nothing to do; empty where there is."""
        if not self._filters.keeps_account(fetch.did):
            return "filtered"
        if (known := self._known.get(fetch.did)) is None:
            return ""
        enough = known.rev >= fetch.rev if fetch.rev else known.begun_at >= fetch.at
        return "not_needed" if enough else ""

    async def _try_often(self, work: _Work) -> None:
        tries = 0
        while (verdict := await self._try(work)) is not None:
            if isinstance(verdict, Moved) and not await self._has_moved(work):
                verdict = Lost(verdict.problem, verdict.status)
            if isinstance(verdict, Again) and verdict.counts:
                tries += 1
                if tries >= self._settings.atproto.fetch_tries:
                    verdict = Lost(f"{verdict.problem} ({tries} tries)")
            if isinstance(verdict, Lost):
                await self._give_up(work, verdict)
                return
            self._counters.count("fetches_total", outcome="retried")
            log.info("a repository is tried again", did=work.fetch.did, tries=tries, problem=verdict.problem)
            if isinstance(verdict, Again) and verdict.counts:
                await asyncio.sleep(self._pace.after_try(tries))

    async def _try(self, work: _Work) -> Verdict | None:
        """Try once; None where the repository is in Kafka, else what follows."""
        try:
            host = await self._host_of(work)
        except TallyError as error:
            return verdict_on(error)
        work.host = host.name
        try:
            async with self._hosts.turn(host.name) as turn:
                attempt = self._begin(work)
                try:
                    await self._carry_out(work, attempt, host, turn)
                except Transient as error:
                    self._leave_alone(turn, host, error)
                    raise
        except TallyError as error:
            return verdict_on(error)
        return None

    def _leave_alone(self, turn: Turn, host: Host, error: Transient) -> None:
        self._hosts.troubled(turn, error.retry_after)
        if error.status == RATE_LIMITED:
            if len(self._limited) < _MANY_HOSTS:
                self._limited.add(host.name)
            self._counters.count("rate_limited_total", host=host.name if host.name in self._limited else "others")

    async def _host_of(self, work: _Work) -> Host:
        """Return whom to ask. Raises Unresolvable, also where the account has no host."""
        needs_key = self._settings.atproto.validation in _SIGNED
        if work.identity is None and (needs_key or not work.fetch.host):
            work.identity = await self._directory.resolve(work.fetch.did)
        url = work.fetch.host
        if not url and work.identity is not None:
            if not work.identity.pds and await self._has_moved(work):
                return await self._host_of(work)
            url = work.identity.pds
        if not url:
            raise Unresolvable(f"no host: {work.identity.problem if work.identity else ''}")
        try:
            host = host_of(url)
        except UsageError as error:
            raise Unresolvable(str(error)) from error
        if work.fetch.host:  # only a user names one
            self._web.allow(host.http)
        return host

    async def _has_moved(self, work: _Work) -> bool:
        """Resolve the identity anew, unless that was done; return whether that has changed anything."""
        if work.refreshed or work.identity is None:
            return False
        work.refreshed, before = True, work.identity
        try:
            work.identity = await self._directory.resolve(work.fetch.did, fresh=True)
        except Unresolvable:
            return False
        return work.identity != before

    def _begin(self, work: _Work) -> Attempt:
        """Begin an attempt, which no other of this process has."""
        self._last_attempt = number = max(time.time_ns() // 1_000_000, self._last_attempt + 1)
        work.begun_at = timestamps.now()
        work.attempt = attempt = Attempt(
            self._settings,
            self._sender.publisher,
            source=work.source,
            kind=REPOSITORY_KIND,
            name=work.fetch.did,
            stage=STAGE,
            number=number,
            run=number,
        )
        attempt.start()
        return attempt

    async def _carry_out(self, work: _Work, attempt: Attempt, host: Host, turn: Turn) -> None:
        fetch = work.fetch
        params = {"did": fetch.did, **({"since": fetch.since} if fetch.since else {})}
        with scratch(self._settings.home / FOLDER) as file:
            size = await download(self._web, f"{host.http}{GET_REPO}", params, file, self._limits)
            self._hosts.answered(turn)
            self._counters.count("fetched_bytes_total", size)
            with mapped(file, size) as data:
                opened = await self._in_thread(
                    partial(
                        open_repository,
                        data,
                        fetch.did,
                        max_bytes=self._limits.max_bytes,
                        now_us=time.time_ns() // 1000,
                    )
                )
                await self._check(work, opened)
                await self._send(work, attempt, opened)

    async def _check(self, work: _Work, opened: Opened) -> None:
        """Verify the signature, by a key that is resolved anew where it doesn't hold. Raises Invalid."""
        if self._settings.atproto.validation in _SIGNED:
            try:
                _verify(opened, work.identity)
            except Invalid:
                if not await self._has_moved(work):
                    raise
                _verify(opened, work.identity)
        is_old = opened.signed.rev < work.fetch.rev and not work.fetch.host
        if is_old and await self._has_moved(work) and (await self._host_of(work)).name != work.host:
            raise Invalid(Failure.REV_OLD, f"{opened.signed.rev} at {work.host}, which is no longer its host")

    async def _send(self, work: _Work, attempt: Attempt, opened: Opened) -> None:
        key, number = work.fetch.did.encode(), attempt.number
        keeps = self._filters.keeps_languages if self._settings.atproto.languages else None
        snapshot = Snapshot(opened, work.wanted, source=work.source, attempt=number, keeps=keeps)
        steps: Iterator[Piece | None] = snapshot.steps(check_hashes=self._settings.atproto.validation in _HASHED)
        slices, words = Batch(), Batch()
        while not isinstance(piece := await self._in_thread(lambda: next(steps, _ENDED)), _Ended):
            if piece is not None:
                await self._sender.send(Record(SNAPSHOTS, key, piece.value, piece.headers), slices)
        await slices.settled()
        signed = opened.signed
        fetched = Fetched(
            did=work.fetch.did,
            host=work.host,
            attempt=number,
            at=timestamps.now(),
            rev=signed.rev,
            cid=snapshot.cid,
            data=snapshot.data,
            records=snapshot.records,
            whole=work.whole,
            asked=work.fetch.at,
        )
        await self._sender.send(Record(COMMITS, key, encode(fetched)), words)
        attempt.claim(
            counts={
                "lines": snapshot.lines,
                "events": snapshot.lines,
                "dead": 0,
                "blank": 0,
                "records": snapshot.records,
                "stale": 0,
            },
            ends=slices.ends,
            digest=snapshot.digest,
            on_delivery=words.expect(STAGES.name),
        )
        await words.settled()
        self._counters.count("fetches_total", outcome="fetched")
        self._counters.count("fetched_records_total", snapshot.records)
        if work.whole:
            self._remember(work, signed.rev)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _remember(self, work: _Work, rev: str) -> None:
        self._known[work.fetch.did] = _Snapshot(rev, work.begun_at)
        self._known.move_to_end(work.fetch.did)
        if len(self._known) > self._settings.atproto.identities:
            self._known.popitem(last=False)

    async def _give_up(self, work: _Work, lost: Lost) -> None:
        """Say that the repository could not be fetched, and why."""
        attempt = work.attempt or self._begin(work)
        problem = printable(lost.problem)[:MAX_PROBLEM_CHARS]
        words = Batch()
        fetched = Fetched(
            did=work.fetch.did,
            host=work.host,
            attempt=attempt.number,
            at=timestamps.now(),
            whole=work.whole,
            problem=problem,
            status=lost.status,
            asked=work.fetch.at,
        )
        await self._sender.send(Record(COMMITS, work.fetch.did.encode(), encode(fetched)), words)
        attempt.fail(problem, on_delivery=words.expect(STAGES.name))
        await words.settled()
        self._counters.count("fetches_total", outcome=lost.status or "failed")
        log.warning("a repository could not be fetched", did=work.fetch.did, host=work.host, problem=problem)


def _verify(opened: Opened, identity: Identity | None) -> None:
    key, problem = (identity.key, identity.problem) if identity is not None else (None, "")
    check_signature(opened.signed, key, problem)
