"""Records sent to Kafka from an event loop: bounded in bytes, and awaited until they are acknowledged."""

import asyncio
from functools import partial

from producers.outlet import Record
from tallystick.contracts.sources import Ends
from tallystick.kafka.publisher import Delivered, Publisher
from tallystick.settings import Settings

MAX_BYTES = 32 * 1024 * 1024
"""So many bytes may wait for their acknowledgement; more wait in their senders."""
_POLL_SECONDS = 0.001


class Batch:
    """Records that are awaited together, and where they end in Kafka."""

    def __init__(self) -> None:
        self.ends: Ends = {}
        self._missing = 0
        self._settled: asyncio.Future[None] | None = None

    def expect(self, topic: str) -> Delivered:
        """Return what is to be called once one more record of a topic is acknowledged."""
        self._missing += 1
        return partial(self._delivered, topic)

    async def settled(self) -> None:
        """Wait until all of them are acknowledged."""
        if self._missing:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    def _delivered(self, topic: str, partition: int, offset: int) -> None:
        ends = self.ends.setdefault(topic, {})
        ends[partition] = max(ends.get(partition, 0), offset + 1)
        self._missing -= 1
        if not self._missing and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)


class Sender:
    """Sends for many tasks of one event loop. `poll` must be called often, by one of them."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self.publisher = publisher
        self._settings = settings
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def send(self, record: Record, batch: Batch) -> None:
        """Queue a record, waiting while too many bytes wait. Raises ServiceError."""
        await self._room.wait()
        self._bytes += len(record.value)
        if self._bytes >= MAX_BYTES:
            self._room.clear()
        done = partial(self._delivered, len(record.value), batch.expect(record.topic.name))
        self.publisher.send(
            self._settings.kafka.topic(record.topic),
            key=record.key,
            value=record.value,
            headers=record.headers,
            on_delivery=done,
        )

    def poll(self) -> None:
        """Take note of what is acknowledged. Raises ServiceError for what Kafka refuses."""
        self.publisher.poll(_POLL_SECONDS)

    def _delivered(self, size: int, then: Delivered, partition: int, offset: int) -> None:
        self._bytes -= size
        if self._bytes < MAX_BYTES:
            self._room.set()
        then(partition, offset)
