"""Agents that work in checkpoints: the one way in which an agent keeps state here.

A checkpoint is a batch that is done or not done as a whole. Its effects, in this order:

1. fold the batch's records into the states of their keys, in memory;
2. send what follows from it (verdicts, commands, dead letters), and wait until Kafka has acknowledged all of that;
3. write each touched state once to the changelog, to the partition of its records, and wait for Kafka again;
4. take the states into the store, with their changelog offsets;
5. send what may only be said once the states are safe (observations), and wait for Kafka again;
6. acknowledge the batch, in order. Only now may Faust commit its offsets.

2 comes before 3, as a state knows what was said: whoever finds it in the changelog and folds the batch once more says
nothing. A crash between the two has things said twice, which their readers must take; the other way round, a command
that was never sent would be waited for without end.

A crash before 6 repeats the batch, and a fold takes repeats without harm. Anything that a fold can't explain crashes
the worker: with Faust's defaults an agent that raises loses the event, or goes on committing without processing.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import faust
import msgspec
from faust.streams import Stream
from faust.types import Message
from faust.types.stores import StoreT
from rocksdict import Rdict

from streams.store import CheckpointStore, Written
from tallystick.contracts.slices import Headers
from tallystick.contracts.topics import Topic
from tallystick.kafka.publisher import Delivered, Publisher
from tallystick.settings import Settings


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of the source topic."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers


class Send(msgspec.Struct, frozen=True):
    """A record that an agent wants to be sent, by its topic in the catalogue."""

    topic: Topic
    key: bytes
    value: bytes


Place = tuple[int, bytes]
"""Where a state lives: partition and key."""


class Folded(msgspec.Struct, frozen=True):
    """What a batch comes to: the states that it has touched, and what follows from it."""

    states: list[tuple[Place, bytes]]
    follows: list[Send]


class KeyFold(Protocol):
    """The fold of one key within one checkpoint."""

    def add(self, record: Record) -> None:
        """Take a record. It never raises for a bad event: that goes to the dead letters, by `follows`."""

    def state(self) -> bytes | None:
        """Return the encoded state, or None for a key that has none. Called once, after the last `add`."""

    def follows(self) -> Sequence[Send]:
        """Return what is to be sent before the state is written."""


class Aggregate(Protocol):
    """What an agent computes; pure, so that it can be run without Kafka."""

    def open(self, key: bytes, state: bytes | None) -> KeyFold:
        """Return the fold of `key` from its newest state."""

    def sealed(self, records: Sequence[Record], written: Sequence[Written]) -> Sequence[Send]:
        """Return what may be said now that `written` is in the changelog."""


class CheckpointedTable(faust.Table[bytes, bytes]):
    """A Faust table whose changelog is a topic of ours. Faust recovers it; only a `Checkpointer` writes it."""

    def __init__(self, app: faust.App, *, changelog: Topic, settings: Settings, database: Rdict) -> None:
        self._database = database
        name = settings.kafka.topic(changelog)
        super().__init__(
            app,
            name=name,
            key_type=bytes,
            value_type=bytes,
            partitions=changelog.partitions(settings.kafka.partitions),
            changelog_topic=app.topic(
                name,
                key_type=bytes,
                value_type=bytes,
                key_serializer="raw",
                value_serializer="raw",
                partitions=changelog.partitions(settings.kafka.partitions),
                compacting=True,
                deleting=False,
                internal=True,
                acks=False,
                allow_empty=True,
            ),
        )
        app.tables.add(self)

    def _new_store(self) -> StoreT[bytes, bytes]:
        return CheckpointStore("rocksdb://", self.app, self, table_name=self.name, database=self._database)

    @property
    def states(self) -> CheckpointStore:
        """The store, by its own type."""
        store = self.data
        assert isinstance(store, CheckpointStore)  # noqa: S101 - `_new_store` makes nothing else
        return store


class Checkpointer:
    """Works through a stream in checkpoints.

    While one checkpoint waits for Kafka (steps 2 to 6), the next one is already folded (1), from the states that the
    first has not stored yet; never more than these two. They end in the order in which they began.
    """

    def __init__(
        self,
        app: faust.App,
        *,
        table: CheckpointedTable,
        aggregate: Aggregate,
        publisher: Publisher,
        settings: Settings,
    ) -> None:
        self._app, self._table, self._aggregate = app, table, aggregate
        self._publisher, self._settings = publisher, settings
        self._pending: list[Message] = []
        self._some, self._full, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._unstored: dict[Place, bytes] = {}

    async def run(self, stream: Stream[bytes]) -> None:
        """Work until the worker stops. Crashes the worker on whatever goes wrong.

        `stream` subscribes to the topic; its records come by `take`.
        """
        worker = asyncio.create_task(self._work())
        try:
            async for event in stream.noack().events():
                await self.take(event.message)
        finally:
            worker.cancel()

    async def take(self, message: Message) -> None:
        """Take a record, once there is room for it."""
        most = self._settings.agents.checkpoint_records
        while len(self._pending) >= 2 * most:
            self._room.clear()
            await self._room.wait()
        self._app.consumer.track_message(message)
        self._pending.append(message)
        self._some.set()
        if len(self._pending) >= most:
            self._full.set()

    async def _work(self) -> None:
        sealing: asyncio.Task[None] | None = None
        try:
            while True:
                batch = await self._next_batch()
                records = [_record(message) for message in batch]
                folded = self._fold(records)
                if sealing is not None:
                    await sealing
                sealing = asyncio.create_task(self._seal(batch, records, folded))
                await asyncio.sleep(0)  # so that it waits for Kafka while the next batch, if it is there, is folded
        except Exception as error:
            await self._app.crash(error)
            raise

    async def _next_batch(self) -> list[Message]:
        bounds = self._settings.agents
        await self._some.wait()
        if len(self._pending) < bounds.checkpoint_records:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), bounds.checkpoint_seconds)
        taken = self._pending[: bounds.checkpoint_records]
        del self._pending[: bounds.checkpoint_records]
        self._room.set()
        if len(self._pending) < bounds.checkpoint_records:
            self._full.clear()
        if not self._pending:
            self._some.clear()
        return [message for message in taken if self._holds((message,))]

    def _holds(self, messages: Sequence[Message]) -> bool:
        """Return whether all of them came since the last rebalance.

        What came before belongs to whoever holds the partition now, and will be delivered again.
        """
        return all(message.generation_id == self._app.consumer_generation_id for message in messages)

    def _fold(self, records: Sequence[Record]) -> Folded:
        folds: dict[Place, KeyFold] = {}
        for record in records:
            place = record.partition, record.key
            fold = folds.get(place)
            if fold is None:
                state = self._unstored.get(place) or self._table.states.read(*place)
                fold = folds[place] = self._aggregate.open(record.key, state)
            fold.add(record)
        folded = Folded([], [])
        for place, fold in folds.items():
            if (value := fold.state()) is not None:
                self._unstored[place] = value
                folded.states.append((place, value))
            folded.follows.extend(fold.follows())
        return folded

    async def _seal(self, batch: Sequence[Message], records: Sequence[Record], folded: Folded) -> None:
        try:
            await self._say(folded.follows)
            # While it waited its partitions may have gone to a worker that has written newer states by now.
            written = await self._write(folded.states) if self._holds(batch) else None
            for place, value in folded.states:
                if self._unstored.get(place) is value:
                    del self._unstored[place]
            if written is None:
                return
            self._table.states.commit(written)
            await self._say(self._aggregate.sealed(records, written))
            for message in batch:
                message.ack(self._app.consumer)
        except Exception as error:
            await self._app.crash(error)
            raise

    async def _write(self, states: Sequence[tuple[Place, bytes]]) -> list[Written]:
        """Write states to the changelog, and return them once Kafka has them."""
        written: list[Written] = []

        def delivered(place: Place, value: bytes) -> Delivered:
            partition, key = place
            return lambda _, offset: written.append(Written(key, value, partition, offset))

        for place, value in states:
            partition, key = place
            self._publisher.send(
                self._table.name, key=key, value=value, partition=partition, on_delivery=delivered(place, value)
            )
        await self._flush()
        return written

    async def _say(self, sends: Sequence[Send]) -> None:
        """Send, and wait until Kafka has it."""
        for send in sends:
            self._publisher.send(self._settings.kafka.topic(send.topic), key=send.key, value=send.value)
        if sends:
            await self._flush()

    async def _flush(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._publisher.flush)


def _record(message: Message) -> Record:
    headers: Any = message.headers
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    return Record(message.partition, message.offset, bytes(message.key or b""), bytes(message.value or b""), pairs)
