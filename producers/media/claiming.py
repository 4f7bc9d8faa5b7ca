"""What the process of a stage hands to the worker that started it: its claim, which only the worker sends on."""

from collections.abc import Callable

import msgspec

from tallystick.contracts.sources import Ends
from tallystick.contracts.topics import Topic
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings


class StageClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a stage's process claims to have done; `evidence` are further facts for the history, as text."""

    counts: dict[str, int]
    digest: str = ""
    ends: Ends = {}
    evidence: dict[str, str] = {}


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a stage's standard output: how far it is (it grows while there is any progress), or its claim."""

    at: int = 0
    claim: StageClaim | None = None


encode_told = msgspec.json.Encoder().encode
decode_told = msgspec.json.Decoder(Told).decode


class Outflow:
    """Sends the records of one medium, in order, and knows where they end. Not thread-safe. Raises ServiceError."""

    def __init__(self, settings: Settings, publisher: Publisher, *, medium: str, topic: Topic) -> None:
        self._publisher, self._key = publisher, medium.encode()
        self._topic, self._name = settings.kafka.topic(topic), topic.name
        self._ends: dict[int, int] = {}

    def send(self, value: bytes, headers: list[tuple[str, str | bytes | None]]) -> None:
        """Queue a record; waits while the queue is full."""
        self._publisher.send(self._topic, key=self._key, value=value, headers=headers, on_delivery=self._delivered)

    def settle(self, on_wait: Callable[[], None]) -> Ends:
        """Wait until Kafka has all of them, and return where they end."""
        while not self._publisher.flush(0.5):
            on_wait()
        return {self._name: dict(self._ends)}

    def _delivered(self, partition: int, offset: int) -> None:
        self._ends[partition] = max(self._ends.get(partition, 0), offset + 1)
