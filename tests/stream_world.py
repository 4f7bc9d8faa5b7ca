"""A stream in the memory of a test: a publisher and a directory that it can look into, and what was sent by topic."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from producers.atproto.directory import Directory, Identity, Unresolvable
from producers.atproto.hosts import host_of
from producers.atproto.live import firehose, labeler
from producers.atproto.live.arrivals import Arrivals
from producers.atproto.live.firehose import Firehose
from producers.atproto.live.labeler import Labeler
from producers.atproto.live.reconnecting import Backoff
from producers.atproto.live.standings import Standings
from producers.atproto.live.stream import Stream
from producers.atproto.live.subscription import Subscription
from producers.checkpoints import Checkpoints
from tallystick.contracts.atproto import FIREHOSE_KIND, LABELS_KIND, NOTICES, Notice, decode_notice
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.dead_letters import decode as decode_letter
from tallystick.contracts.sources import Checkpoint, decode_checkpoint
from tallystick.contracts.topics import DEAD_LETTERS, SOURCE_POSITIONS, Topic
from tallystick.settings import AtprotoSettings, Settings
from tests import atproto_world
from tests.memory_publisher import MemoryPublisher

T = TypeVar("T")
NOW = atproto_world.NOW_US / 1_000_000


class Acknowledging(MemoryPublisher):
    """Acknowledges whenever it is asked, unless Kafka is `away`."""

    away = False

    def poll(self, seconds: float = 0.0) -> None:  # noqa: ARG002 - it never takes time
        if not self.away:
            super().poll(1.0)


class KnownDirectory(Directory):
    """Knows identities by heart. What is `remembered` is there at once, what only `known` after it was asked for.

    While `open` is not set every question waits. `asked` holds the questions, and whether they were for a fresh answer.
    """

    def __init__(self, known: Mapping[str, Identity], remembered: Mapping[str, Identity] | None = None) -> None:
        self.known, self.remembered = dict(known), dict(remembered or {})
        self.asked: list[tuple[str, bool]] = []
        self.open = asyncio.Event()
        self.open.set()

    def cached(self, did: str) -> Identity | None:
        return self.remembered.get(did)

    async def resolve(self, did: str, *, fresh: bool = False) -> Identity:
        self.asked.append((did, fresh))
        await self.open.wait()
        if did not in self.known:
            raise Unresolvable(f"{did} is nobody")
        self.remembered[did] = self.known[did]
        return self.known[did]


def identities() -> dict[str, Identity]:
    """Return the identities behind the captured frames."""
    return {
        did: Identity(did=did, labeler_key=key) if did == atproto_world.LABELER else Identity(did=did, key=key)
        for did, key in atproto_world.keys().items()
    }


class World:
    """One stream of one host. It is made within an event loop. `known` is the checkpoint that it begins with."""

    def __init__(
        self,
        url: str,
        *,
        kind: str = FIREHOSE_KIND,
        directory: Directory | None = None,
        position: int = 0,
        begin: str | int = "oldest",
        **bounds: object,
    ) -> None:
        settings = Settings(atproto=AtprotoSettings(**{"checkpoint_seconds": 0.001, **bounds}))  # type: ignore[arg-type]
        self.publisher = Acknowledging()
        self.host = host_of(url)
        self.stream = Stream(
            settings,
            self.publisher,
            Checkpoints(settings, self.publisher, {}),
            host=self.host,
            kind=kind,
            clock=lambda: NOW,
        )
        if position:
            known = Checkpoint(
                self.stream.source, kind, self.host.name, 1, position, "", position, position, 0, 0, {}, False, ""
            )
            checkpoints = Checkpoints(settings, self.publisher, {known.source: known})
            self.stream = Stream(settings, self.publisher, checkpoints, host=self.host, kind=kind, clock=lambda: NOW)
        self.directory = directory or KnownDirectory(identities())
        standings = Standings(self.directory, most=settings.atproto.identities)
        self.handler: Firehose | Labeler
        if kind == LABELS_KIND:
            self.handler, path = Labeler(self.stream, standings, settings.atproto), labeler.PATH
        else:
            self.handler = Firehose(self.stream, standings, settings.atproto, clock=lambda: NOW)
            path = firehose.PATH
        self.arrivals = Arrivals(self.stream, self.handler, settings.atproto, begin=begin)
        self.waits: list[float] = []
        self.subscription = Subscription(
            self.stream,
            self.arrivals,
            settings.atproto,
            path=path,
            backoff=Backoff(settings.atproto.reconnect_max_seconds, chance=lambda _low, _high: 1.0),
            sleep=self._sleep,
        )

    async def until(self, look: Callable[[], object], *, seconds: float = 20.0) -> None:
        """Follow the stream until `look` holds, or it ends by itself, which raises; then settle what was received."""
        deadline = time.monotonic() + seconds
        following = asyncio.create_task(self.subscription.run())
        try:
            while not look() and not following.done():
                assert time.monotonic() < deadline, f"not within {seconds} s: {self.notices()}"
                self.stream.advance()
                self.handler.check()
                await asyncio.sleep(0.002)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await self.handler.close()
            if not self.publisher.away:
                self.stream.settle(1.0)
        if not following.cancelled():
            following.result()

    def sent(self, topic: Topic, type_: type[T]) -> list[T]:
        """Return what was sent to a topic, in order."""
        return [msgspec.json.decode(sent.value, type=type_) for sent in self.publisher.of(topic.name)]

    def notices(self) -> list[Notice]:
        """Return the notices, in order."""
        return [decode_notice(sent.value) for sent in self.publisher.of(NOTICES.name)]

    def letters(self) -> list[DeadLetter]:
        """Return the dead letters, in order."""
        return [decode_letter(sent.value) for sent in self.publisher.of(DEAD_LETTERS.name)]

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints, in order."""
        return [decode_checkpoint(sent.value) for sent in self.publisher.of(SOURCE_POSITIONS.name)]

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0.01)
