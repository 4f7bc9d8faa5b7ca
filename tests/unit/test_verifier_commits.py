"""The verifier's offsets: committed for many commands at once, and never before Kafka has what was reported of them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import pytest
import sqlalchemy as sa
from confluent_kafka import TopicPartition
from pydantic import SecretStr

from sinks.loop import Place
from sinks.schema import metadata
from sinks.verifier import Verifier
from tallystick.contracts import stages
from tallystick.contracts.stages import Command, Observed, Reported, Started
from tallystick.database.engine import make_engine
from tallystick.settings import DatabaseSettings, Settings

PLACE = Place(cluster="cluster", projection="here")


class Message:
    def __init__(self, partition: int, offset: int, *, source: str, projection: str = "here") -> None:
        self._where = partition, offset
        found = Command(source, "no such kind", "/a", "seen", 1, projection, "2026-01-01T00:00:00.000000Z", look=True)
        self._value = stages.encode(found)

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return self._where[0]

    def offset(self) -> int:
        return self._where[1]

    def value(self) -> bytes:
        return self._value


class Kafka:
    """A consumer and an announcer in one, which write down what they are asked for."""

    def __init__(self, messages: Iterable[Message], *, settles: bool = True) -> None:
        self._messages, self._settles = deque(messages), settles
        self.calls: list[object] = []

    def subscribe(self, _topics: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass

    def consume(self, most: int, _seconds: float) -> list[Message]:
        return [self._messages.popleft() for _ in range(min(most, len(self._messages)))]

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        self.calls.append({where.partition: where.offset for where in offsets})

    def observe(self, observations: Iterable[Observed | Reported | Started]) -> None:
        self.calls += [observation.source for observation in observations]

    def settle(self, _stop: object) -> bool:
        self.calls.append("settled" if self._settles else "not settled")
        return self._settles


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    made = make_engine(Settings(database=DatabaseSettings(url=SecretStr("sqlite://"))))
    metadata.create_all(made)
    yield made
    made.dispose()


def run(engine: sa.Engine, kafka: Kafka, *, turns: int) -> list[object]:
    """Run a verifier until it has asked so often whether to stop; return what it has asked for."""
    left = iter(range(turns))
    Verifier(
        Settings(),
        place=PLACE,
        engine=engine,
        consumer=kafka,  # type: ignore[arg-type]
        announcer=kafka,  # type: ignore[arg-type]
    ).run(lambda: next(left, None) is None)
    return kafka.calls


def test_many_commands_are_committed_at_once_when_their_reports_are_there(engine: sa.Engine) -> None:
    messages = [
        Message(0, 4, source="a"),
        Message(1, 9, source="b"),
        Message(0, 5, source="elsewhere", projection="elsewhere"),
        Message(0, 6, source="c"),
    ]
    assert run(engine, Kafka(messages), turns=100) == ["a", "b", "c", "settled", {0: 7, 1: 10}]


def test_what_kafka_does_not_have_is_not_committed(engine: sa.Engine) -> None:
    calls = run(engine, Kafka([Message(0, 4, source="a")], settles=False), turns=100)
    assert calls[:2] == ["a", "not settled"]
    assert set(calls[2:]) <= {"not settled"}


def test_what_is_done_is_committed_although_more_is_waiting_when_it_is_told_to_stop(engine: sa.Engine) -> None:
    messages = [Message(0, offset, source=str(offset)) for offset in range(50)]
    calls = run(engine, Kafka(messages), turns=20)
    done = len([call for call in calls if isinstance(call, str) and call != "settled"])
    assert 0 < done < 50
    assert calls[-2:] == ["settled", {0: done}]
