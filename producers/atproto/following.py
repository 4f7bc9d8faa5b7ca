"""`tally run atproto-firehose` and `tally run atproto-labeler`: one stream of one host in one process."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

from producers.atproto import firehose, labeler
from producers.atproto.arrivals import Arrivals
from producers.atproto.directory import Directory
from producers.atproto.firehose import Firehose
from producers.atproto.hosts import Host
from producers.atproto.labeler import Labeler
from producers.atproto.standings import Standings
from producers.atproto.stream import Stream
from producers.atproto.subscription import Subscription
from producers.checkpoints import Checkpoints, read_checkpoints
from producers.outlet import STOP_SECONDS
from producers.progress import Throttle
from tallystick.contracts.atproto import FIREHOSE_KIND, LABELS_KIND
from tallystick.contracts.measures import Sample
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

Begin = Literal["live", "oldest"] | int
Directories = Callable[[Settings], AbstractAsyncContextManager[Directory]]

LINGER_MS = 5
MEASURES_SECONDS = 2.0
_PAUSE_SECONDS = 0.01
"""How often acknowledgements are looked for: so long an event waits at most before its cursor moves."""


def follow(
    settings: Settings,
    host: Host,
    *,
    kind: str,
    begin: Begin,
    directories: Directories,
    stop: Callable[[], bool],
    on_measures: Callable[[list[Sample]], None],
) -> None:
    """Follow the stream of `kind` (`FIREHOSE_KIND` or `LABELS_KIND`) of a host until `stop` returns True.

    `on_measures` is called every MEASURES_SECONDS. Raises StreamRefused and CursorAhead, which no other try will
    change; ServiceError where Kafka refuses a record or can't be asked for the positions, and for a host whose frames
    can't be read.
    """
    publisher = Publisher(settings, client_id=kind.replace(".", "-"), linger_ms=LINGER_MS)
    checkpoints = Checkpoints(settings, publisher, read_checkpoints(settings))
    stream = Stream(settings, publisher, checkpoints, host=host, kind=kind)
    asyncio.run(_follow(settings, stream, kind, begin, directories, stop, on_measures))


async def _follow(
    settings: Settings,
    stream: Stream,
    kind: str,
    begin: Begin,
    directories: Directories,
    stop: Callable[[], bool],
    on_measures: Callable[[list[Sample]], None],
) -> None:
    async with directories(settings) as directory:
        handler, path = _handler(settings, stream, directory, kind)
        arrivals = Arrivals(stream, handler, settings.atproto, begin=begin)
        subscription = Subscription(stream, arrivals, settings.atproto, path=path)
        log.info("following", host=stream.host.name, stream=stream.name, position=stream.position)
        following = asyncio.create_task(subscription.run())
        telling = Throttle(MEASURES_SECONDS)
        stream.start()
        try:
            while not stop() and not following.done():
                stream.advance()
                handler.check()
                if telling.due():
                    on_measures(stream.samples())
                await asyncio.wait((following,), timeout=_PAUSE_SECONDS)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await handler.close()
        if not stream.settle(STOP_SECONDS):
            log.warning("stopped before Kafka acknowledged all", host=stream.host.name, position=stream.position)
        on_measures(stream.samples())
        if not following.cancelled():
            following.result()


def _handler(settings: Settings, stream: Stream, directory: Directory, kind: str) -> tuple[Firehose | Labeler, str]:
    standings = Standings(directory, most=settings.atproto.identities)
    if kind == LABELS_KIND:
        return Labeler(stream, standings, settings.atproto), labeler.PATH
    if kind == FIREHOSE_KIND:
        return Firehose(stream, standings, settings.atproto), firehose.PATH
    raise AssertionError(kind)
