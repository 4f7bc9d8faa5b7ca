"""One partition of a topic that Cowrie writes to, as a source: its records become slices by session. An endless source.

The position is the offset. A record without a value counts as blank, one that is no event as a dead letter.
"""

from collections.abc import Callable, Sequence

import msgspec
import xxhash
from confluent_kafka import Message

from producers.checkpoints import Checkpoints
from producers.claims import Attempt
from producers.cowrie.limits import TooManyDeadLetters, require_events
from producers.cowrie.lines import Piece, cut
from producers.cowrie.objects import ObjectFrame
from producers.cowrie.records import records_of
from producers.cowrie.windows import Window, sort_lines
from producers.outlet import Outlet, Record
from tallystick.contracts import dead_letters, sources, timestamps
from tallystick.contracts.cowrie import KAFKA_KIND
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.sources import Checkpoint
from tallystick.contracts.stages import Reach
from tallystick.contracts.topics import DEAD_LETTERS
from tallystick.kafka.publisher import Publisher
from tallystick.kafka.topics import Existing
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

STAGE = "followed"
LOST = "records are lost"


class Place(msgspec.Struct, frozen=True):
    """A partition of a topic, and the id of the source that it is."""

    topic: str
    number: int
    source: str

    @property
    def name(self) -> str:
        """What people call the source."""
        return f"{self.topic}/{self.number}"


def place_of(topic: str, number: int, found: Existing) -> Place:
    """Return a partition of `topic` as a source; a topic that was deleted and made anew is another one."""
    digest = xxhash.xxh3_64_hexdigest(msgspec.json.encode((found.cluster, topic, found.id, number)))
    return Place(topic, number, f"kafka-{digest}")


def unread(place: Place, *, position: int) -> Checkpoint:
    """Return the checkpoint of a partition of which nothing was read, and which is going to be read from `position`."""
    return sources.unread(place.source, KAFKA_KIND, place.name, attempt=0, position=position)


class PartitionStream:
    """Sends on what a partition holds, for as long as this process holds it. Methods raise ServiceError.

    `sensor` is that of events that name none. `end` is how far the partition goes, as far as is known.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        checkpoints: Checkpoints,
        *,
        place: Place,
        known: Checkpoint,
        sensor: str,
        stop: Callable[[], bool],
    ) -> None:
        self.place = place
        self.end = known.position
        self._settings, self._publisher, self._checkpoints, self._sensor = settings, publisher, checkpoints, sensor
        self._at = msgspec.structs.replace(known, name=place.name, claimed=False)
        self._outlet = Outlet(
            settings, publisher, checkpoints, ends=known.ends, stop=stop, on_wait=lambda: self._attempt.beat()
        )
        self._attempt = self._next_attempt()

    @property
    def position(self) -> int:
        """The offset of the next record that is to be taken."""
        return self._at.position

    @property
    def has_room(self) -> bool:
        """Whether more may be taken now."""
        return self._outlet.has_room

    def begin(self) -> None:
        """Say that it has begun. The checkpoint takes the attempt's number, so that none has the number of another."""
        self._attempt.start()
        self._checkpoints.save(self._at)

    def take(self, messages: Sequence[Message]) -> None:
        """Send on the next records, in their order. What was taken before is left out.

        Raises TooManyDeadLetters, once it is said in `stages`; nothing of `messages` is sent then.
        """
        found = [
            (offset, message.value() or b"")
            for message in messages
            if (offset := message.offset() or 0) >= self._at.position
        ]
        if found:
            self._send(self._sort(found), position=found[-1][0] + 1)

    def skip_lost(self, before: int) -> None:
        """Say that the records up to `before` are gone and were never read, in every place where people look."""
        first, last = self._at.position, before - 1
        detail = f"offsets {first} to {last} of {self.place.name} expired before they were read"
        log.error(LOST, topic=self.place.topic, partition=self.place.number, first=first, last=last)
        letter = DeadLetter(
            source=self.place.source,
            position=first,
            reason=LOST,
            payload=b"",
            detail=detail,
            at=timestamps.now(),
            topic=self.place.topic,
            partition=self.place.number,
            offset=first,
        )
        self._at = msgspec.structs.replace(
            self._at, position=before, lines=self._at.lines + 1, dead=self._at.dead + 1, at=timestamps.now()
        )
        self._outlet.send([Record(DEAD_LETTERS, self.place.source.encode(), dead_letters.encode(letter))], self._at)
        self._attempt.fail(f"{detail}; raise the topic's retention, or keep this role running")
        self._attempt = self._next_attempt()
        self.begin()

    def advance(self) -> None:
        """Move the checkpoint behind what is acknowledged, and give a sign of life. Waits for nothing: call often."""
        self._outlet.advance()
        self._attempt.beat()

    def release(self) -> bool:
        """Let everything be acknowledged; False where Kafka doesn't do it in time after the role was told to stop."""
        return self._outlet.settle()

    def claim(self) -> bool:
        """Claim what was sent since the beginning of the source, as it is read no further; False as for `release`."""
        if not self._outlet.settle():
            return False
        at = self._at = msgspec.structs.replace(self._at, ends=self._outlet.ends, at=timestamps.now())
        self._attempt.claim(counts=at.counts, ends=at.ends, digest="")
        if not self._outlet.settle():
            return False
        self._checkpoints.save(msgspec.structs.replace(at, claimed=True))
        log.info("read a partition", name=self.place.name, source=self.place.source, position=at.position, **at.counts)
        return self._outlet.settle()

    def _next_attempt(self) -> Attempt:
        self._at = msgspec.structs.replace(self._at, attempt=self._at.attempt + 1)
        return Attempt(
            self._settings,
            self._publisher,
            source=self.place.source,
            kind=KAFKA_KIND,
            name=self.place.name,
            stage=STAGE,
            number=self._at.attempt,
            reach=self._reach,
        )

    def _reach(self) -> Reach:
        return Reach(position=self._at.position, end=max(self._at.position, self.end))

    def _require_events(self, *, dead: int, lines: int, letters: Sequence[DeadLetter]) -> None:
        try:
            require_events(dead=dead, lines=lines, letters=letters, bounds=self._settings.reader)
        except TooManyDeadLetters as error:
            self._outlet.settle()
            self._attempt.fail(f"{self.place.name}: {error}")
            self._outlet.settle()
            raise

    def _sort(self, found: Sequence[tuple[int, bytes]]) -> Window:
        most = self._settings.reader.max_line_bytes
        fitting = [(offset, value) for offset, value in found if len(value) <= most]
        pieces: list[Piece] = [piece for offset, value in found if len(value) > most for piece in cut(offset, value)]
        frame = ObjectFrame(
            [offset for offset, _ in fitting], [value for _, value in fitting], pieces, found[-1][0] + 1
        )
        return sort_lines(frame, source=self.place.source, sensor=self._sensor, at=timestamps.now())

    def _send(self, window: Window, *, position: int) -> None:
        letters = [
            msgspec.structs.replace(letter, topic=self.place.topic, partition=self.place.number, offset=letter.position)
            for letter in window.letters
        ]
        dead = sum(letter.last for letter in letters)
        lines = self._at.lines + window.events + dead + window.blank
        self._require_events(dead=self._at.dead + dead, lines=lines, letters=letters)
        self._at = msgspec.structs.replace(
            self._at,
            position=position,
            lines=lines,
            events=self._at.events + window.events,
            dead=self._at.dead + dead,
            blank=self._at.blank + window.blank,
            at=timestamps.now(),
        )
        most = self._settings.reader.max_events_per_record
        window = msgspec.structs.replace(window, letters=letters)
        self._outlet.send(records_of(window, self.place.source, max_events=most), self._at)
