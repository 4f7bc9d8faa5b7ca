"""The lister: all repositories that a host has, page by page, become requests to fetch them.

1. The page behind the stored cursor is asked for; a host in trouble is asked again, for as long as it takes.
2. Its records are sent. Once Kafka has acknowledged all of them, and those of the pages before,
3. the cursor behind the page is stored, which is the host's own word: nothing is ever calculated with it.
4. Behind the last page, the claim is sent, and that is stored too.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

import msgspec
import xxhash

from producers.atproto.backfill.pacing import Pace
from producers.atproto.backfill.pages import Counts, Options, Page, fetch_of, records_of
from producers.atproto.counters import Counters
from producers.atproto.hosts import Host
from producers.atproto.http import Refused, Transient, Web
from producers.checkpoints import Checkpoints, read_checkpoints
from producers.claims import Attempt
from producers.outlet import Outlet
from tallystick.contracts import timestamps
from tallystick.contracts.atproto import LISTING_KIND, repository_source_id, stream_source_id
from tallystick.contracts.sources import Checkpoint, unread
from tallystick.contracts.stages import Reach
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

LIST_REPOS = "/xrpc/com.atproto.sync.listRepos"
PAGE_ENTRIES = 1000
"""How many entries are asked for, which is the most that the protocol has."""
STAGE = "listed"
REFUSALS = 5
"""After how many refusals in a row (which are no trouble that passes) a list can't be read."""
AGAIN_SECONDS = 900.0
"""After how long at most a service that goes on lists again what could not be listed."""
_TICK_SECONDS = 0.05

T = TypeVar("T")


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the list of a host ended. `interrupted`: the next run goes on. `failed`: `reason` says why."""

    host: str
    source: str
    attempt: int
    state: Literal["claimed", "failed", "interrupted"]
    counts: dict[str, int]
    reason: str = ""


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A repository that was asked for by its DID."""

    did: str
    source: str
    host: str = ""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a list is. `trouble` is why the host is waited for, empty where it isn't."""

    host: str
    source: str
    attempt: int
    repositories: int
    trouble: str = ""


class Failure(Exception):
    """A list can't be read to its end."""


class _Stopped(Exception):
    """The lister was told to stop."""


class Lister:
    """Lists one host. Belongs to one event loop; owns nothing that it is given."""

    def __init__(
        self,
        settings: Settings,
        host: Host,
        options: Options,
        web: Web,
        publisher: Publisher,
        checkpoints: Checkpoints,
        *,
        stop: Callable[[], bool],
        counters: Counters,
        tell: Callable[[Progress], None],
        pace: Pace | None = None,
    ) -> None:
        self._settings, self._host, self._options, self._web = settings, host, options, web
        self._publisher, self._checkpoints = publisher, checkpoints
        self._stop, self._counters, self._tell, self._pace = stop, counters, tell, pace or Pace()
        self._source = stream_source_id(LISTING_KIND, host.name)
        self._seen: set[int] = set()
        self._trouble = ""
        self._ended = False
        self._told_at = float("-inf")

    async def list(self) -> Outcome:
        """Read the list to its end, from where the last run left it, and claim it. Raises ServiceError."""
        begun = self._begun()
        attempt = self._attempt_of(begun)
        outlet = Outlet(
            self._settings,
            self._publisher,
            self._checkpoints,
            ends=begun.ends,
            stop=self._stop,
            on_wait=attempt.beat,
            checkpoint_seconds=self._settings.atproto.checkpoint_seconds,
        )
        self._outlet, self._attempt, self._at = outlet, attempt, begun
        attempt.start()
        ended = partial(Outcome, self._host.name, self._source, begun.attempt)
        try:
            if begun.cursor or not begun.lines:  # else the last run read all of it, and died before it claimed
                await self._read()
        except _Stopped:
            outlet.settle()
            return ended("interrupted", self._at.counts)
        except Failure as error:
            outlet.settle()
            attempt.fail(str(error))
            # The next run goes on from here, and is not held to what this one said.
            self._save(outlet.acknowledged or begun, attempt=begun.attempt + 1)
            return ended("failed", self._at.counts, str(error))
        if not outlet.settle():
            return ended("interrupted", self._at.counts)
        attempt.claim(counts=self._at.counts, ends=outlet.ends, digest="")
        self._publisher.flush()
        self._save(self._at, claimed=True)
        return ended("claimed", self._at.counts)

    def _save(self, at: Checkpoint, **changes: int) -> None:
        """Store how the list has ended, after which nothing is said of this attempt."""
        self._ended = True
        self._checkpoints.save(msgspec.structs.replace(at, ends=self._outlet.ends, **changes))
        self._publisher.flush()
        self._tick(now=True)

    async def rest(self, seconds: float) -> bool:
        """Wait until it is time to list again; False where the lister was told to stop."""
        try:
            await self._meanwhile(asyncio.sleep(seconds))
        except _Stopped:
            return False
        return True

    def _begun(self) -> Checkpoint:
        """Return where to begin: at the stored page of a list that did not come to its end, and asked for the same;
        else at the first.
        """
        known = self._checkpoints.known.get(self._source)
        digest = xxhash.xxh3_64_hexdigest(
            msgspec.json.encode([sorted(self._options.dids), sorted(self._options.collections), self._options.since])
        )
        if known is not None and not known.claimed and known.digest == digest:
            log.info("a list is gone on with", host=self._host.name, repositories=known.position)
            return known
        attempt = known.attempt + 1 if known is not None else 1
        return unread(self._source, LISTING_KIND, self._host.name, attempt=attempt, digest=digest)

    def _attempt_of(self, begun: Checkpoint) -> Attempt:
        return Attempt(
            self._settings,
            self._publisher,
            source=self._source,
            kind=LISTING_KIND,
            name=self._host.name,
            stage=STAGE,
            number=begun.attempt,
            reach=lambda: Reach(self._at.position, self._at.position),
        )

    async def _read(self) -> None:
        while True:
            page = await self._page(self._at.cursor)
            while not self._outlet.has_room:
                await self._meanwhile(asyncio.sleep(_TICK_SECONDS))
            self._send(page)
            if not page.cursor:
                return

    def _send(self, page: Page) -> None:
        at, now = self._at, timestamps.now()
        records, counts = records_of(
            page.repos, self._options, source=self._source, host=self._host.name, position=at.position, at=now
        )
        self._at = _behind(at, page, counts, now)
        self._outlet.send(records, self._at)
        self._counters.count("listed_repositories_total", len(page.repos))

    async def _page(self, cursor: str) -> Page:
        """Return the page behind a cursor, however often that takes. Raises Failure."""
        params = {"limit": str(PAGE_ENTRIES), **({"cursor": cursor} if cursor else {})}
        troubles = refusals = 0
        while True:
            try:
                page = await self._meanwhile(self._web.ask(f"{self._host.http}{LIST_REPOS}", Page, params))
                self._check_cursor(cursor, page)
            except Refused as error:
                refusals += 1
                if refusals == REFUSALS:
                    raise Failure(f"{error} ({REFUSALS} tries); the next run begins at the same page") from error
                self._trouble, seconds = str(error), self._pace.after_trouble(troubles + refusals)
            except Transient as error:
                troubles += 1
                if error.status == 429:
                    self._counters.count("rate_limited_total", host=self._host.name)
                seconds = error.retry_after if error.retry_after is not None else self._pace.after_trouble(troubles)
                self._trouble = str(error)
            else:
                self._trouble = ""
                return page
            log.warning("a page of a list is asked for again", host=self._host.name, error=self._trouble)
            await self._meanwhile(asyncio.sleep(seconds))

    def _check_cursor(self, asked: str, page: Page) -> None:
        """Raise Failure where the list leads back to a page that was asked for before: it would have no end."""
        self._seen.add(hash(asked))
        if page.cursor and hash(page.cursor) in self._seen:
            raise Failure(f"{self._host.name}: its list of repositories leads back to a page before")

    async def _meanwhile(self, what: Awaitable[T]) -> T:
        """Return what is awaited, while all that goes on besides goes on. Raises _Stopped."""
        task = asyncio.ensure_future(what)
        try:
            while not task.done():
                if self._stop():
                    raise _Stopped
                self._tick()
                await asyncio.wait((task,), timeout=_TICK_SECONDS)
        finally:
            task.cancel()
        return task.result()

    def _tick(self, *, now: bool = False) -> None:
        self._outlet.advance()
        if not self._ended:
            self._attempt.beat()
        self._counters.tick(now=now)
        if now or time.monotonic() - self._told_at >= 1.0:
            self._told_at = time.monotonic()
            at = self._at
            self._tell(Progress(self._host.name, self._source, at.attempt, at.position, self._trouble))


def _behind(at: Checkpoint, page: Page, counts: Counts, now: str) -> Checkpoint:
    """Return where a list stands behind a page."""
    return msgspec.structs.replace(
        at,
        position=at.position + len(page.repos),
        lines=at.lines + len(page.repos),
        events=at.events + counts.events,
        dead=at.dead + counts.dead,
        blank=at.blank + counts.blank,
        cursor=page.cursor,
        at=now,
    )


def list_host(
    settings: Settings,
    host: Host,
    options: Options,
    *,
    again: bool,
    stop: Callable[[], bool],
    counters: Counters,
    on_progress: Callable[[Progress], None],
    on_outcome: Callable[[Outcome], None],
) -> bool:
    """List a host; with `again` anew whenever `atproto.relist_seconds` have passed, until `stop` returns True.

    Returns whether the list was claimed, or interrupted. Raises ServiceError.
    """
    wanted = msgspec.structs.replace(options, dids=options.dids | frozenset(settings.atproto.dids))

    async def work() -> bool:
        publisher = Publisher(settings, client_id="atproto-lister", linger_ms=5)
        checkpoints = Checkpoints(settings, publisher, read_checkpoints(settings))
        async with Web(settings, named=(host.http,)) as web:
            while True:
                lister = Lister(
                    settings,
                    host,
                    wanted,
                    web,
                    publisher,
                    checkpoints,
                    stop=stop,
                    counters=counters,
                    tell=on_progress,
                )
                outcome = await lister.list()
                on_outcome(outcome)
                if not again or stop():
                    return outcome.state != "failed"
                seconds = settings.atproto.relist_seconds
                if not await lister.rest(min(seconds, AGAIN_SECONDS) if outcome.state == "failed" else seconds):
                    return True

    return asyncio.run(work())


def ask_for(
    settings: Settings, dids: Sequence[str], options: Options, *, host: Host | None, on_outcome: Callable[[Asked], None]
) -> None:
    """Ask for repositories by their DIDs, of `host` or, without one, of each account's own. Raises ServiceError."""
    publisher = Publisher(settings, client_id="atproto-lister", linger_ms=5)
    at, url = timestamps.now(), host.http if host else ""
    for did in dids:
        record = fetch_of(did, options, at=at, host=url, why="asked")
        publisher.send(settings.kafka.topic(record.topic), key=record.key, value=record.value)
    publisher.flush()
    for did in dids:
        on_outcome(Asked(did, repository_source_id(did), host.name if host else ""))
