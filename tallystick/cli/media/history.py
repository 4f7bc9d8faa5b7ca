"""The history of a medium, from the log: who claimed what, who observed what, when, and what was concluded of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from tallystick.contracts import media, stages
from tallystick.contracts.media import MEDIA, RUNS, Medium, Run
from tallystick.contracts.stages import Command, Observed, Outcome, StageEvent, Started
from tallystick.contracts.topics import STAGE_COMMANDS, STAGE_OUTCOMES, STAGES, Topic
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings

Word = Medium | Run | StageEvent | Outcome | Command
"""What the log holds of a medium, beside what is on it."""


class Entry(msgspec.Struct, frozen=True):
    """One thing that was said of a medium at the canonical time `at`.

    `place` is where it stands in the log: `topic/partition/offset`.
    """

    at: str
    place: str
    word: Word


class LogRecord(Protocol):
    """What is used of a record of Kafka's client."""

    def key(self) -> bytes | None:
        """Return its key."""

    def value(self) -> bytes | None:
        """Return its value."""

    def partition(self) -> int | None:
        """Return the partition that it is in."""

    def offset(self) -> int | None:
        """Return its offset."""


READERS: Mapping[Topic, Callable[[bytes], Word]] = {
    MEDIA: media.decode_medium,
    STAGES: stages.decode_event,
    STAGE_COMMANDS: stages.decode_command,
    RUNS: media.decode_run,
    STAGE_OUTCOMES: stages.decode_outcome,
}
"""Where media are spoken of."""


def read_history(settings: Settings, medium: str) -> list[Entry]:
    """Return what the log holds of a medium, in the order of the times. Raises ServiceError where it can't be read."""
    found: list[Entry] = []
    for topic in READERS:
        records = read_whole(settings, settings.kafka.topic(topic), client_id="history")
        found += entries(topic, records, medium)
    return condensed(found)


def entries(topic: Topic, records: Iterable[LogRecord], medium: str) -> Iterator[Entry]:
    """Yield what the records of one topic say of a medium; those that keep no contract are passed over."""
    key, read = medium.encode(), READERS[topic]
    for record in records:
        if record.key() != key:
            continue
        try:
            word = read(record.value() or b"")
        except msgspec.MsgspecError:
            continue
        yield Entry(_time(word), f"{topic.name}/{record.partition()}/{record.offset()}", word)


def condensed(found: Iterable[Entry]) -> list[Entry]:
    """Return entries in the order of their times, without what only repeats another.

    Of heartbeats the first of each stage stays, of what an observer has committed, which is cumulative, the last word.
    """
    kept: dict[object, Entry] = {}
    for entry in sorted(found, key=lambda entry: entry.at):
        match entry.word:
            case Started(stage=stage, attempt=attempt, projection=projection):
                kept.setdefault(("started", stage, attempt, projection), entry)
            case Observed(observer=observer, projection=projection):
                kept["observed", observer, projection] = entry
            case _:
                kept[entry.place] = entry
    return sorted(kept.values(), key=lambda entry: entry.at)


def _time(word: Word) -> str:
    return (word.ended_at or word.started_at) if isinstance(word, Run) else word.at
