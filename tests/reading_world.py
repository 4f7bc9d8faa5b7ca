"""The reader in a world without Kafka: files that are read in runs which may die, and what observers see of it."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from producers.checkpoints import Checkpoints
from producers.cowrie.discovery import discover
from producers.cowrie.formats import Format
from producers.cowrie.reader import read_found
from producers.cowrie.reading import Tools
from producers.progress import FileOutcome, Progress
from sinks.counting import INSERTED, Count
from tallystick.contracts import dead_letters, slices, stages
from tallystick.contracts.cowrie import EVENTS, read_session_key
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.sources import Checkpoint, decode_checkpoint
from tallystick.contracts.topics import DEAD_LETTERS, SOURCE_POSITIONS, STAGES
from tallystick.settings import ReaderSettings, Settings
from tests.memory_publisher import MemoryPublisher

E = TypeVar("E", bound=stages.StageEvent)


class Killed(Exception):
    """The reader's process dies here."""


class World:
    """Topics that outlive the readers that write to them."""

    def __init__(self, **reader: float) -> None:
        sections = {"settle_seconds": 0.001, **reader}
        self.settings = Settings(reader=ReaderSettings.model_validate(sections))
        self.publisher = MemoryPublisher()
        self.progress: list[Progress] = []

    def run(
        self,
        *paths: Path | str,
        sensor: str = "unknown",
        form: Format = Format.AUTO,
        stop: Callable[[], bool] = lambda: False,
        records: int | None = None,
        kept: int = 0,
    ) -> list[FileOutcome]:
        """Run a reader. With `records` it dies once it has sent so many; `kept` of the unacknowledged are in Kafka."""
        self.publisher.before_send = None if records is None else dies_after(records)
        checkpoints = Checkpoints(self.settings, self.publisher, self.checkpoints())
        tools = Tools(self.settings, self.publisher, checkpoints, sensor, stop, self.progress.append, form)
        try:
            outcomes = [read_found(tools, found) for found in discover(map(str, paths))]
        except Killed:
            self.publisher.lose(keep=kept)
            return []
        finally:
            self.publisher.before_send = None
        self.publisher.flush()
        return outcomes

    def read(self, path: Path, **options: str | Format) -> FileOutcome:
        """Run a reader on one file."""
        [outcome] = self.run(path, **options)  # type: ignore[arg-type]
        return outcome

    def checkpoints(self) -> dict[str, Checkpoint]:
        """The newest checkpoint of every source."""
        return {sent.key.decode(): decode_checkpoint(sent.value) for sent in self.publisher.of(SOURCE_POSITIONS.name)}

    def slices(self) -> list[tuple[tuple[str, str], slices.Slice]]:
        """Every slice with its (sensor, session), in the order of sending."""
        return [
            (read_session_key(sent.key), slices.decode(sent.value, sent.headers.items()))
            for sent in self.publisher.of(EVENTS.name)
        ]

    def events(self) -> list[tuple[str, str, bytes]]:
        """Every event that was sent, repeats included: sensor, session, line."""
        return [(*place, event) for place, found in self.slices() for event in found.events]

    def letters(self) -> list[DeadLetter]:
        """Every dead letter that was sent, repeats included."""
        return [dead_letters.decode(sent.value) for sent in self.publisher.of(DEAD_LETTERS.name)]

    def said(self) -> list[stages.StageEvent]:
        """What was said in `stages`, in the order of sending."""
        return [stages.decode_event(sent.value) for sent in self.publisher.of(STAGES.name)]

    def stage_events(self, kind: type[E]) -> list[E]:
        """What was said in `stages`, of one kind."""
        return [event for event in self.said() if isinstance(event, kind)]

    def observed(self, source: str) -> tuple[int, int]:
        """How many events and dead letters of a source an observer counts, as the sinks count them."""
        counts: dict[int, Count] = defaultdict(Count)
        for sent in self.publisher.of(EVENTS.name):
            found = slices.decode(sent.value, sent.headers.items())
            if found.source == source:
                counts[sent.partition].take(found.low, found.positions, bytes([INSERTED]) * len(found.positions))
        letters = {letter.position for letter in self.letters() if letter.source == source and letter.piece == 0}
        return sum(count.inserted for count in counts.values()), len(letters)

    def ends_hold(self, claim: stages.Claimed) -> bool:
        """Whether the claim's ends are those of the last records of its source, per topic and partition."""
        ends: dict[str, dict[int, int]] = {}
        for sent in self.publisher.log:
            ours = sent.headers.get("source") == claim.source.encode()
            if (sent.topic == EVENTS.name and ours) or (
                sent.topic == DEAD_LETTERS.name and dead_letters.decode(sent.value).source == claim.source
            ):
                ends.setdefault(sent.topic, {})[sent.partition] = sent.offset + 1
        return claim.ends == ends


def dies_after(records: int) -> Callable[[str], None]:
    """A publisher's `before_send` that lets so many records pass, and then kills the process."""
    left = records

    def before_send(_topic: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    return before_send
