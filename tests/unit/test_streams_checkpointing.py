"""A worker that dies within a checkpoint: what it had to say is said all the same, by whoever comes next.

Kafka is a log in memory here, at which a part of what is waited for arrives; the rest is what runs in a worker.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import msgspec
import pytest
from faust.events import Event
from faust.types.tuples import ConsumerMessage, Message

from producers.cowrie.generator import Plan, lines
from streams.checkpointing import Aggregate, CheckpointedTable, Checkpointer, Record
from streams.repositories.agent import RepositoriesAggregate
from streams.sessions.agent import SessionsAggregate
from streams.stages.agent import SilenceWatch, StagesAggregate
from streams.store import open_slot
from tallystick.contracts import atproto, cowrie, slices, topics
from tallystick.contracts import stages as contract
from tallystick.contracts.slices import Headers
from tallystick.contracts.topics import Topic
from tallystick.errors import ServiceError
from tallystick.kafka.publisher import Delivered, Publisher
from tallystick.settings import AgentSettings, Settings
from tests.unit.test_inspected_stages import MEDIUM, enumerated, identified, loaded_up_to, look
from tests.unit.test_repositories_fold import DID, commit

PARTITION, GENERATION, CHECKPOINT = 0, 1, 2
NEVER = -1
VOLATILE = ("at", "asked", "produced", "revision", "changed_at", "asked_at")
"""What tells of the moment at which something was said."""


class Kafka(Publisher):
    """A log of (topic, key, value). With flush `dies_at` its worker is killed: only what is for `arriving` arrives."""

    def __init__(self, *, dies_at: int = NEVER, arriving: Callable[[str], bool] = lambda _topic: True) -> None:
        self.log: list[tuple[str, bytes, bytes]] = []
        self.died = False
        self._flushes = itertools.count()
        self._dies_at, self._arriving = dies_at, arriving
        self._queue: list[tuple[tuple[str, bytes, bytes], Delivered | None]] = []

    def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes,
        headers: Headers | None = None,  # noqa: ARG002 - agents send none
        partition: int | None = None,  # noqa: ARG002 - there is one
        on_delivery: Delivered | None = None,
    ) -> None:
        self._live()
        self._queue.append(((topic, key, value), on_delivery))

    def flush(self, seconds: float | None = None) -> bool:  # noqa: ARG002 - it takes no time
        self._live()
        self.died = next(self._flushes) == self._dies_at
        queue, self._queue = self._queue, []
        for record, on_delivery in queue:
            if not self.died or self._arriving(record[0]):
                self.log.append(record)
                if on_delivery is not None:
                    on_delivery(PARTITION, len(self.log) - 1)
        self._live()
        return True

    def lives_on(self) -> None:
        """Begin the life of the next worker, which is not killed."""
        self.died, self._dies_at, self._queue = False, NEVER, []

    def _live(self) -> None:
        if self.died:
            raise ServiceError("killed")


class Story(msgspec.Struct, frozen=True):
    """What an agent is told: records of `source` as (key, value, headers), in whole checkpoints."""

    source: Topic
    changelog: Topic
    make: Callable[[], Aggregate]
    records: list[tuple[bytes, bytes, Headers]]


class Consumer:
    """Counts what is acknowledged, in order; `over` once that is all, or its worker has crashed."""

    def __init__(self, start: int, end: int) -> None:
        self.acknowledged, self._end = start, end
        self.over = asyncio.Event()

    def track_message(self, message: Message) -> None:
        message.incref()

    def ack(self, message: Message) -> None:
        assert message.offset == self.acknowledged
        self.acknowledged += 1
        if self.acknowledged == self._end:
            self.over.set()

    async def crash(self, _error: Exception) -> None:
        self.over.set()


def live(story: Story, kafka: Kafka, folder: Path, *, start: int = 0) -> int:
    """Work from record `start` on with the state that Kafka holds; return how many are acknowledged at the end."""
    settings = Settings(agents=AgentSettings(checkpoint_records=CHECKPOINT, checkpoint_seconds=60))
    database = open_slot(folder, cache_bytes=1 << 20)
    broker = faust.App("tests", broker="kafka://127.0.0.1:1")
    table = CheckpointedTable(broker, changelog=story.changelog, settings=settings, database=database)
    changelog = [
        Event(broker, key, value, {}, Message(topic, PARTITION, offset, 0.0, 0, {}, key, value, None))
        for offset, (topic, key, value) in enumerate(kafka.log)
        if topic == table.name
    ]
    table.states.apply_changelog_batch(changelog, to_key=bytes, to_value=bytes)

    async def work() -> int:
        consumer = Consumer(start, len(story.records))

        async def events() -> AsyncIterator[SimpleNamespace]:
            for offset, (key, value, headers) in enumerate(story.records[start:], start):
                said_with: Any = headers
                at = story.source.name, PARTITION, offset, 0.0, 0
                message = ConsumerMessage(*at, said_with, key, value, None, generation_id=GENERATION)
                yield SimpleNamespace(message=message)
            await consumer.over.wait()

        app: Any = SimpleNamespace(consumer=consumer, consumer_generation_id=GENERATION, crash=consumer.crash)
        checkpointer = Checkpointer(app, table=table, aggregate=story.make(), publisher=kafka, settings=settings)
        stream: Any = SimpleNamespace(noack=lambda: SimpleNamespace(events=events))
        running = asyncio.create_task(checkpointer.run(stream))
        async with asyncio.timeout(30):
            await consumer.over.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return consumer.acknowledged

    acknowledged = asyncio.run(work())
    database.close()
    return acknowledged


def gist(value: bytes) -> str:
    """Return what a record says, without when it was said."""

    def without(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: without(inner) for name, inner in part.items() if name not in VOLATILE}
        return [without(inner) for inner in part] if isinstance(part, list) else part

    return msgspec.json.encode(without(msgspec.json.decode(value)), order="sorted").decode()


def said(story: Story, kafka: Kafka) -> set[tuple[str, bytes, str]]:
    return {(topic, key, gist(value)) for topic, key, value in kafka.log if topic != story.changelog.name}


def states(story: Story, kafka: Kafka) -> dict[bytes, str]:
    return {key: gist(value) for topic, key, value in kafka.log if topic == story.changelog.name}


def _stages() -> Story:
    told = [*identified(), enumerated(), look("enumerated"), loaded_up_to(9), look("loaded")]
    values = [b"no event", *map(contract.encode, told)]
    return Story(
        topics.STAGES,
        topics.SOURCE_STAGES,
        lambda: StagesAggregate(SilenceWatch()),
        [(MEDIUM.encode(), value, []) for value in values],
    )


def _sessions() -> Story:
    events = [line.rstrip(b"\n") for line in lines(Plan(events=7, seed=3, interleave=1))]
    records = []
    for position, line in enumerate([*events, b"no event"]):
        value, headers = slices.encode(b"log", cowrie.SCHEMA, position, [position], [line])
        records.append((cowrie.session_key("honeypot", "a"), value, headers))
    return Story(cowrie.EVENTS, cowrie.SESSIONS, SessionsAggregate, records)


def _repositories() -> Story:
    told = [commit(1), commit(3), commit(4)]
    values = [b"no event", *map(atproto.encode, told)]
    return Story(
        atproto.COMMITS,
        atproto.REPOSITORIES,
        lambda: RepositoriesAggregate("known"),
        [(DID.encode(), value, []) for value in values],
    )


@pytest.mark.parametrize("arrives", ["the state alone", "all but the state", "everything"])
@pytest.mark.parametrize("make", [_stages, _sessions, _repositories], ids=["stages", "sessions", "repositories"])
def test_of_a_checkpoint_whose_worker_is_killed_nothing_is_lost_that_it_had_to_say(
    make: Callable[[], Story], arrives: str, tmp_path: Path
) -> None:
    story = make()
    calm = Kafka()
    assert live(story, calm, tmp_path / "calm") == len(story.records)
    arriving: dict[str, Callable[[str], bool]] = {
        "the state alone": lambda topic: topic == story.changelog.name,
        "all but the state": lambda topic: topic != story.changelog.name,
        "everything": lambda _topic: True,
    }
    for death in itertools.count():
        kafka = Kafka(dies_at=death, arriving=arriving[arrives])
        acknowledged = live(story, kafka, tmp_path / f"{death}-first")
        if not kafka.died:
            break
        assert acknowledged < len(story.records)
        kafka.lives_on()
        assert live(story, kafka, tmp_path / f"{death}-second", start=acknowledged) == len(story.records)
        assert said(story, kafka) >= said(story, calm), f"killed at flush {death}"
        assert states(story, kafka) == states(story, calm), f"killed at flush {death}"
    assert death >= len(story.records) // CHECKPOINT


def test_what_was_folded_before_a_rebalance_is_not_written_after_it(tmp_path: Path) -> None:
    story, kafka = _sessions(), Kafka()
    settings = Settings(agents=AgentSettings(checkpoint_records=CHECKPOINT, checkpoint_seconds=60))
    database = open_slot(tmp_path, cache_bytes=1 << 20)
    broker = faust.App("tests", broker="kafka://127.0.0.1:1")
    table = CheckpointedTable(broker, changelog=story.changelog, settings=settings, database=database)
    consumer = Consumer(0, len(story.records))
    app: Any = SimpleNamespace(consumer=consumer, consumer_generation_id=GENERATION, crash=consumer.crash)
    checkpointer = Checkpointer(app, table=table, aggregate=story.make(), publisher=kafka, settings=settings)
    key, value, headers = story.records[0]
    said_with: Any = headers
    at = story.source.name, PARTITION, 0, 0.0, 0
    message = ConsumerMessage(*at, said_with, key, value, None, generation_id=GENERATION)

    async def work() -> None:
        records = [Record(PARTITION, 0, key, value, headers)]
        folded = checkpointer._fold(records)
        app.consumer_generation_id += 1
        await checkpointer._seal([message], records, folded)
        assert (kafka.log, consumer.acknowledged) == ([], 0)
        app.consumer_generation_id -= 1
        assert checkpointer._fold(records).states == folded.states, "nothing of it is left"
        await checkpointer._seal([message], records, folded)
        assert (set(states(story, kafka)), consumer.acknowledged) == ({key}, 1)

    asyncio.run(work())
    database.close()
