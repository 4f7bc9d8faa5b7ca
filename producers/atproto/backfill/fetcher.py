"""The fetcher: a consumer group on `atproto.fetches`, many repositories at a time.

The offset of a Fetch is committed once it and all before it in its partition are done, or given up: a crash repeats
them. While `MAX_IN_FLIGHT` are not done no more are taken, so that a host that is waited for holds back only so many.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from producers.atproto.backfill.fetching import Fetching
from producers.atproto.backfill.offsets import Offsets
from producers.atproto.backfill.sending import Batch, Sender
from producers.atproto.counters import Counters
from producers.atproto.http import Web
from producers.atproto.identities import HttpDirectory
from producers.outlet import Record
from tallystick.contracts import dead_letters, timestamps
from tallystick.contracts.atproto import FETCHES, decode_fetch
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.measures import Sample
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.kafka.consuming import close, make_consumer, records
from tallystick.kafka.pausing import Brake
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.slots import member_name

log = get_logger(__name__)

GROUP = "atproto-fetchers"
ORIGIN = "atproto-fetcher"
"""Who wrote the letters of records that are no Fetch."""
MAX_IN_FLIGHT = 200
TICK_SECONDS = 0.02
COMMIT_SECONDS = 1.0
FAREWELL_SECONDS = 5.0

_Place = tuple[int, int]


class Fetcher:
    """Takes Fetches and has them carried out, until it is told to stop. Owns its consumer."""

    def __init__(
        self,
        settings: Settings,
        consumer: Consumer,
        sender: Sender,
        fetching: Fetching,
        counters: Counters,
        *,
        most: int = MAX_IN_FLIGHT,
    ) -> None:
        self._topic = settings.kafka.topic(FETCHES)
        self._consumer, self._sender, self._fetching, self._counters = consumer, sender, fetching, counters
        self._most = most
        self._offsets = Offsets()
        self._tasks: dict[_Place, asyncio.Task[None]] = {}
        self._brake = Brake(consumer)
        self._committed_at = float("-inf")

    async def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop` returns True. Raises ServiceError and StorageError."""
        self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
        try:
            while not stop():
                self._take()
                self._tick()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._sender.publisher.flush(FAREWELL_SECONDS)
            self._commit()
            self._fetching.close()
            close(self._consumer)
            self._counters.tick(now=True)

    def _take(self) -> None:
        """Take what there is room for. While there is none the consumer is asked all the same, to stay in its group."""
        room = self._most - len(self._tasks)
        self._brake.hold(self._consumer.assignment() if room <= 0 else ())
        for message in records(self._consumer, most=max(room, 1), seconds=0.0):
            self._begin(message)

    def _begin(self, message: Message) -> None:
        place = (message.partition() or 0, message.offset() or 0)
        self._offsets.begin(*place)
        task = self._tasks.get(place)
        if task is None or task.done() or task.cancelling():
            # Else its partition went, and came back, while it was under way.
            self._tasks[place] = asyncio.create_task(self._carry_out(place, message))

    async def _carry_out(self, place: _Place, message: Message) -> None:
        try:
            fetch = decode_fetch(message.value() or b"")
        except msgspec.MsgspecError as error:
            await self._bury(message, str(error))
        else:
            await self._fetching.fetch(fetch)
        self._offsets.done(*place)

    def _tick(self) -> None:
        for place in [place for place, task in self._tasks.items() if task.done()]:
            task = self._tasks.pop(place)
            if not task.cancelled():
                task.result()
        self._sender.poll()
        self._fetching.beat()
        now = asyncio.get_running_loop().time()
        if now - self._committed_at >= COMMIT_SECONDS:
            self._committed_at = now
            if ready := self._ready():
                # Nothing waits for a broker that is away; what is not committed then is with the next commit.
                self._consumer.commit(offsets=ready, asynchronous=True)
        self._counters.show("fetch_waiting", len(self._tasks))
        self._counters.tick()

    def _commit(self) -> None:
        """Commit what is done, and wait until the broker has it."""
        if ready := self._ready():
            try:
                self._consumer.commit(offsets=ready, asynchronous=False)
            except KafkaException as error:
                log.warning("some fetches will be repeated", error=str(error))

    def _ready(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number, offset) for number, offset in self._offsets.ready().items()]

    def _revoked(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """Commit what is done. What is under way goes on until it is known who has its partition now."""
        self._commit()
        self._offsets.forget()

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        mine = {where.partition for where in partitions}
        for (partition, _), task in self._tasks.items():
            if partition not in mine:
                task.cancel()

    async def _bury(self, message: Message, problem: str) -> None:
        key = (message.key() or b"").decode("utf-8", "backslashreplace")
        log.warning("not a fetch", partition=message.partition(), offset=message.offset(), error=problem[:200])
        letter = DeadLetter(
            source="",
            position=message.offset() or 0,
            reason=dead_letters.NO_RECORD,
            payload=message.value() or b"",
            origin=ORIGIN,
            detail=problem[:500],
            at=timestamps.now(),
            topic=FETCHES.name,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            key=key,
        )
        batch = Batch()
        for piece in dead_letters.pieces(letter):
            await self._sender.send(Record(DEAD_LETTERS, b"", dead_letters.encode(piece)), batch)
        await batch.settled()


def run_fetcher(
    settings: Settings, stop: Callable[[], bool], *, tell: Callable[[list[Sample]], None] = lambda _samples: None
) -> None:
    """Run a fetcher until `stop` returns True. `tell` is given the measures every few seconds."""
    with member_name(settings.home / "slots", settings.kafka.group(GROUP)) as member:
        make = partial(make_consumer, settings, client_id=ORIGIN, group=GROUP, member=member)
        asyncio.run(_run(settings, make(), stop, Counters(tell)))


async def _run(settings: Settings, consumer: Consumer, stop: Callable[[], bool], counters: Counters) -> None:
    sender = Sender(settings, Publisher(settings, client_id=ORIGIN, linger_ms=5))
    async with Web(settings) as web:
        directory = HttpDirectory(settings, web, counters)
        try:
            fetching = Fetching(settings, web, directory, sender, counters)
            await Fetcher(settings, consumer, sender, fetching, counters).run(stop)
        finally:
            await directory.close()
