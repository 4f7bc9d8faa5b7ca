"""Windows on their way: how many at once, what a checkpoint waits for, and what happens when told to stop."""

import pytest

from producers import outlet
from producers.checkpoints import Checkpoints
from producers.outlet import MAX_WINDOWS, Outlet, Record
from tallystick.contracts.cowrie import EVENTS
from tallystick.contracts.sources import Checkpoint, Ends
from tallystick.contracts.topics import SOURCE_POSITIONS
from tallystick.settings import Settings
from tests.memory_publisher import MemoryPublisher


def checkpoint(position: int) -> Checkpoint:
    return Checkpoint("s", "k", "n", 1, position, "", 0, 0, 0, 0, {}, claimed=False, at="")


class Deaf(MemoryPublisher):
    """A Kafka that is away: it acknowledges nothing while `away`."""

    away = True

    def poll(self, seconds: float = 0.0) -> None:
        if not self.away:
            super().poll(seconds)


class Fixture:
    def __init__(
        self, publisher: MemoryPublisher, ends: Ends | None = None, *, checkpoint_seconds: float = 0.0
    ) -> None:
        self.publisher, self.stopped, self.waits = publisher, False, 0
        self.checkpoints = Checkpoints(Settings(), publisher, {})
        self.outlet = Outlet(
            Settings(),
            publisher,
            self.checkpoints,
            ends=ends or {},
            stop=lambda: self.stopped,
            on_wait=self.wait,
            checkpoint_seconds=checkpoint_seconds,
        )

    def wait(self) -> None:
        self.waits += 1

    def send(self, position: int, *keys: bytes) -> None:
        self.outlet.send((Record(EVENTS, key, b"{}") for key in keys), checkpoint(position))

    def told(self) -> list[str]:
        return [record.topic for record in self.publisher.log]


def test_a_checkpoint_follows_its_window_once_all_of_it_is_acknowledged() -> None:
    it = Fixture(MemoryPublisher(partitions=1))
    it.send(10, b"a", b"b")
    assert it.checkpoints.known == {}
    assert it.outlet.settle()
    assert it.told() == [EVENTS.name, EVENTS.name, SOURCE_POSITIONS.name]
    assert it.checkpoints.known["s"].position == 10
    assert it.checkpoints.known["s"].ends == it.outlet.ends == {EVENTS.name: {0: 2}}


def test_ends_go_on_from_those_of_earlier_attempts() -> None:
    it = Fixture(MemoryPublisher(partitions=1), ends={EVENTS.name: {0: 1, 7: 5}})
    it.send(10, b"a", b"b")
    it.outlet.settle()
    assert it.outlet.ends == {EVENTS.name: {0: 2, 7: 5}}


def test_a_window_without_records_moves_the_checkpoint_too() -> None:
    it = Fixture(MemoryPublisher())
    it.send(10)
    assert it.checkpoints.known["s"].position == 10


def test_the_next_window_waits_while_many_are_under_way() -> None:
    publisher = Deaf()
    it = Fixture(publisher)
    for number in range(MAX_WINDOWS):
        assert it.outlet.wait_for_room()
        it.send(number, b"a")
    assert it.waits == MAX_WINDOWS, "one wait for each record, none for room"

    def kafka_comes_back() -> None:
        publisher.away = it.waits < 20
        it.waits += 1

    it.outlet._on_wait = kafka_comes_back
    assert it.outlet.wait_for_room()
    assert it.waits >= 20
    assert it.checkpoints.known["s"].position == MAX_WINDOWS - 1


def test_told_to_stop_while_kafka_is_away_it_gives_up_and_the_checkpoint_stays_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outlet, "STOP_SECONDS", 0.01)
    it = Fixture(Deaf())
    for number in range(MAX_WINDOWS):
        it.send(number, b"a")
    it.stopped = True
    assert not it.outlet.wait_for_room()
    assert not it.outlet.settle()
    assert it.checkpoints.known == {}


def test_checkpoints_are_sent_no_oftener_than_asked_for_and_the_last_one_in_any_case() -> None:
    it = Fixture(MemoryPublisher(partitions=1), checkpoint_seconds=3_600.0)
    for position in (10, 20, 30):
        it.send(position, b"a")
        it.publisher.poll(1.0)
        it.outlet.advance()
        assert it.outlet.acknowledged == checkpoint(position), "what is acknowledged is known all the same"
    assert it.told().count(SOURCE_POSITIONS.name) == 1
    assert it.outlet.settle()
    assert it.told().count(SOURCE_POSITIONS.name) == 2
    assert it.checkpoints.known["s"].position == 30
    assert it.checkpoints.known["s"].ends == {EVENTS.name: {0: 3}}
