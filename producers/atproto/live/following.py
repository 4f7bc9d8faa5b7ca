"""`tally run atproto-firehose` and `tally run atproto-labeler`: one stream of one host in one process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

from producers.atproto.counters import EVERY_SECONDS, Counters
from producers.atproto.directory import Directory
from producers.atproto.hosts import Host
from producers.atproto.http import Web
from producers.atproto.identities import HttpDirectory
from producers.atproto.live import firehose, labeler
from producers.atproto.live.arrivals import Arrivals
from producers.atproto.live.firehose import Firehose
from producers.atproto.live.labeler import Labeler
from producers.atproto.live.standings import Standings
from producers.atproto.live.stream import Stream
from producers.atproto.live.subscription import Subscription
from producers.checkpoints import Checkpoints, read_checkpoints
from producers.outlet import STOP_SECONDS
from producers.progress import Throttle
from tallystick.contracts.atproto import FIREHOSE_KIND, LABELS_KIND
from tallystick.contracts.measures import Sample
from tallystick.errors import UsageError
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

Begin = Literal["live", "oldest"] | int
Directories = Callable[[Settings, Counters], AbstractAsyncContextManager[Directory]]

LINGER_MS = 5
_PAUSE_SECONDS = 0.01
"""How often acknowledgements are looked for: so long an event waits at most before its cursor moves."""


@asynccontextmanager
async def http_directory(settings: Settings, counters: Counters) -> AsyncIterator[Directory]:
    """Give the directory that is asked over HTTP."""
    async with Web(settings) as web:
        directory = HttpDirectory(settings, web, counters)
        try:
            yield directory
        finally:
            await directory.close()


def begin_of(text: str) -> Begin:
    """Return where a stream begins that was never read: `live`, `oldest`, or behind a number. Raises UsageError."""
    match text:
        case "live" | "oldest":
            return text
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) < 2**53):
        raise UsageError(f"no place in a stream: {text[:80]!a}; give live, oldest, or the number of an event")
    return int(text)


def follow(
    settings: Settings,
    host: Host,
    *,
    kind: str,
    begin: Begin,
    stop: Callable[[], bool],
    on_measures: Callable[[list[Sample]], None],
    directories: Directories = http_directory,
) -> None:
    """Follow the stream of `kind` (`FIREHOSE_KIND` or `LABELS_KIND`) of a host until `stop` returns True.

    `begin` only counts where the stream was never read: else it goes on behind its cursor. `on_measures` is called
    every EVERY_SECONDS. Raises StreamRefused and CursorAhead, which no other try will
    change; ServiceError where Kafka refuses a record or can't be asked for the positions, and for a host whose frames
    can't be read.
    """
    publisher = Publisher(settings, client_id=kind.replace(".", "-"), linger_ms=LINGER_MS)
    checkpoints = Checkpoints(settings, publisher, read_checkpoints(settings))
    stream = Stream(settings, publisher, checkpoints, host=host, kind=kind)
    counters = Counters()

    def tell() -> None:
        on_measures(stream.samples() + counters.samples())

    async def work() -> None:
        async with directories(settings, counters) as directory:
            handler, path = _handler(settings, stream, directory, kind)
            arrivals = Arrivals(stream, handler, settings.atproto, begin=begin)
            subscription = Subscription(stream, arrivals, settings.atproto, path=path)
            await _follow(stream, handler, subscription, stop, tell)

    asyncio.run(work())


async def _follow(
    stream: Stream,
    handler: Firehose | Labeler,
    subscription: Subscription,
    stop: Callable[[], bool],
    tell: Callable[[], None],
) -> None:
    log.info("following", host=stream.host.name, stream=stream.name, position=stream.position)
    following = asyncio.create_task(subscription.run())
    telling = Throttle(EVERY_SECONDS)
    stream.start()
    try:
        while not stop() and not following.done():
            stream.advance()
            handler.check()
            if telling.due():
                tell()
            await asyncio.wait((following,), timeout=_PAUSE_SECONDS)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await handler.close()
    if not stream.settle(STOP_SECONDS):
        log.warning("stopped before Kafka acknowledged all", host=stream.host.name, position=stream.position)
    tell()
    if not following.cancelled():
        following.result()


def _handler(settings: Settings, stream: Stream, directory: Directory, kind: str) -> tuple[Firehose | Labeler, str]:
    standings = Standings(directory, most=settings.atproto.identities)
    if kind == LABELS_KIND:
        return Labeler(stream, standings, settings.atproto), labeler.PATH
    if kind == FIREHOSE_KIND:
        return Firehose(stream, standings, settings.atproto), firehose.PATH
    raise AssertionError(kind)
