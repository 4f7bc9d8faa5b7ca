"""What a sink says to others: observations, and dead letters for what it can't store."""

from collections.abc import Callable, Iterable

from sinks.sink import AnySink, Decoded, Record, Refusal
from tallystick.contracts import dead_letters, stages
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.stages import Observed, Reported, Started
from tallystick.contracts.timestamps import now
from tallystick.contracts.topics import DEAD_LETTERS, STAGES
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings


class Announcer:
    """Sends observations and dead letters; they are with Kafka once `settle` has returned True."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._publisher = publisher
        self._stages = settings.kafka.topic(STAGES)
        self._dead_letters = settings.kafka.topic(DEAD_LETTERS)

    def observe(self, observations: Iterable[Observed | Reported | Started]) -> None:
        """Queue observations, a report, or the word that somebody is at work on one."""
        for observation in observations:
            self._publisher.send(self._stages, key=observation.source.encode(), value=stages.encode(observation))

    def bury(self, letters: Iterable[DeadLetter]) -> None:
        """Queue dead letters, long ones in pieces."""
        for letter in letters:
            for piece in dead_letters.pieces(letter):
                self._publisher.send(self._dead_letters, key=piece.source.encode(), value=dead_letters.encode(piece))

    def settle(self, stop: Callable[[], bool]) -> bool:
        """Wait until Kafka has acknowledged everything, however long that takes; False where `stop` came first."""
        while not self._publisher.flush(0.5):
            if stop():
                return False
        return True


def letter_for(sink: AnySink, record: Record, *, source: str, refusal: Refusal) -> DeadLetter:
    """Return the dead letter of `sink` about a part of `record`."""
    return DeadLetter(
        source=source,
        position=refusal.position,
        reason=refusal.reason,
        payload=refusal.payload,
        origin=sink.name,
        detail=refusal.detail,
        at=now(),
        topic=sink.topic.name,
        partition=record.partition,
        offset=record.offset,
        key=record.key.decode("utf-8", "backslashreplace"),
    )


def unreadable(record: Record, problem: str) -> Decoded[object]:
    """Return what is known of a record that keeps no contract: only that it is refused, at its own offset."""
    refusal = Refusal(record.offset, record.value or b"", dead_letters.NO_RECORD, problem[:500])
    return Decoded(entries=(), contents=(), refused=(refusal,), source=_source_of(record))


def _source_of(record: Record) -> str:
    source = dict(record.headers).get("source")
    return source.decode("ascii", "replace") if isinstance(source, bytes) else ""
