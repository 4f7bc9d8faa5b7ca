"""AT Protocol: what the fetcher takes from its group, and what it commits, while partitions come and go."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from confluent_kafka import TopicPartition

from producers.atproto.backfill.fetcher import Fetcher
from producers.atproto.backfill.sending import Sender
from producers.atproto.counters import Counters
from tallystick.contracts.atproto import FETCHES, Fetch, encode
from tallystick.contracts.timestamps import now
from tallystick.settings import Settings
from tests.memory_publisher import MemoryPublisher


class Message:
    def __init__(self, partition: int, offset: int) -> None:
        self._place = (partition, offset)

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def error(self) -> None:
        return None

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return encode(Fetch(f"did:plc:p{self._place[0]}o{self._place[1]}", "test", now()))


class Broker:
    """A consumer's side of a group, whose partitions a test gives and takes."""

    def __init__(self) -> None:
        self.queue: list[Message] = []
        self.held: list[TopicPartition] = []
        self.committed: dict[int, int] = {}
        self.paused = False
        self.asked_for: list[int] = []

    def subscribe(self, _topics: list[str], *, on_assign: Any, on_revoke: Any) -> None:
        self._on_assign, self._on_revoke = on_assign, on_revoke
        self.give(0, 1)

    def give(self, *partitions: int) -> None:
        self._on_revoke(self, self.held)
        self.held = [TopicPartition(FETCHES.name, number) for number in partitions]
        self._on_assign(self, self.held)

    def assignment(self) -> list[TopicPartition]:
        return self.held

    def pause(self, _partitions: list[TopicPartition]) -> None:
        self.paused = True

    def resume(self, _partitions: list[TopicPartition]) -> None:
        self.paused = False

    def consume(self, most: int, _seconds: float) -> list[Message]:
        self.asked_for.append(most)
        taken, self.queue = ([], self.queue) if self.paused else (self.queue[:most], self.queue[most:])
        return taken

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:  # noqa: ARG002
        for where in offsets:
            self.committed[where.partition] = where.offset

    def close(self) -> None:
        self.held = []


class Held:
    """Fetches that go on until the test lets them end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}

    async def fetch(self, fetch: Fetch) -> None:
        name = fetch.did.removeprefix("did:plc:")
        self.begun.append(name)
        try:
            await self._gates.setdefault(name, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise

    def end(self, *names: str) -> None:
        for name in names:
            self._gates.setdefault(name, asyncio.Event()).set()

    def beat(self) -> None:
        pass

    def close(self) -> None:
        pass


async def seen(look: Callable[[], bool]) -> None:
    """Wait for a state."""
    async with asyncio.timeout(10):
        while True:
            if look():
                return
            await asyncio.sleep(0.005)


def run(tmp_path: Path, work: Callable[[Broker, Held], Awaitable[None]], *, most: int = 200) -> Broker:
    """Run a fetcher beside `work`, and stop it behind that."""
    broker, held = Broker(), Held()
    settings = Settings(home=tmp_path)

    async def inner() -> None:
        over = False
        sender = Sender(settings, MemoryPublisher())
        fetcher = Fetcher(settings, broker, sender, held, Counters(), most=most)  # type: ignore[arg-type]
        task = asyncio.create_task(fetcher.run(lambda: over))
        try:
            await work(broker, held)
        finally:
            over = True
            await task

    with patch("producers.atproto.backfill.fetcher.COMMIT_SECONDS", 0.01):
        asyncio.run(inner())
    return broker


def test_an_offset_is_committed_behind_all_that_is_done(tmp_path: Path) -> None:
    async def work(broker: Broker, held: Held) -> None:
        broker.queue += [Message(0, 5), Message(0, 6), Message(1, 2)]
        await seen(lambda: len(held.begun) == 3)
        held.end("p0o6", "p1o2")
        await seen(lambda: broker.committed == {1: 3})
        held.end("p0o5")

    assert run(tmp_path, work).committed == {0: 7, 1: 3}


def test_no_more_is_taken_than_may_be_under_way_and_the_group_is_kept(tmp_path: Path) -> None:
    async def work(broker: Broker, held: Held) -> None:
        broker.queue += [Message(0, number) for number in range(10)]
        await seen(lambda: broker.paused)
        assert len(held.begun) == 4
        polls = len(broker.asked_for)
        await seen(lambda: len(broker.asked_for) > polls + 2)
        held.end("p0o0", "p0o1")
        await seen(lambda: len(held.begun) == 6)

    assert run(tmp_path, work, most=4).committed == {0: 2}


def test_what_is_under_way_is_not_begun_again_when_its_partition_comes_back(tmp_path: Path) -> None:
    async def work(broker: Broker, held: Held) -> None:
        broker.queue += [Message(0, 5), Message(1, 2)]
        await seen(lambda: len(held.begun) == 2)
        broker.give(0)
        broker.queue.append(Message(0, 5))
        await seen(lambda: held.cancelled == ["p1o2"] and not broker.queue)
        held.end("p0o5")
        await seen(lambda: broker.committed == {0: 6})
        assert held.begun == ["p0o5", "p1o2"]

    run(tmp_path, work)


def test_what_ended_while_its_partition_was_nobodys_is_done_again(tmp_path: Path) -> None:
    async def work(broker: Broker, held: Held) -> None:
        broker.queue.append(Message(0, 5))
        await seen(lambda: len(held.begun) == 1)
        broker.give(0, 1)
        held.end("p0o5")
        await asyncio.sleep(0)
        broker.queue.append(Message(0, 5))
        await seen(lambda: broker.committed == {0: 6})

    run(tmp_path, work)
