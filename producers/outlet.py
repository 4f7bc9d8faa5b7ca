"""Where a source's windows go: records first, their checkpoint only once Kafka has acknowledged all of them."""

import time
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from producers.checkpoints import Checkpoints
from tallystick.contracts.slices import Headers
from tallystick.contracts.sources import Checkpoint, Ends
from tallystick.contracts.topics import Topic
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings

MAX_WINDOWS = 4
MAX_RECORDS = 20_000
"""No window is begun while as many windows, or records, wait for their acknowledgement."""

_RECORDS_PER_WAIT = 100
"""After how many records it is told that sending goes on."""

STOP_SECONDS = 5.0
"""How long a producer that was told to stop waits for acknowledgements."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record to be sent."""

    topic: Topic
    key: bytes
    value: bytes
    headers: Headers | None = None


class _Window:
    """The records of one window that Kafka has not acknowledged yet, and what follows once it has."""

    def __init__(self) -> None:
        self.missing = 0
        self.checkpoint: Checkpoint | None = None

    def delivered(self, topic_ends: dict[int, int]) -> Callable[[int, int], None]:
        def on_delivery(partition: int, offset: int) -> None:
            self.missing -= 1
            if offset >= topic_ends.get(partition, 0):
                topic_ends[partition] = offset + 1

        return on_delivery


class Outlet:
    """Sends the windows of one source, several at a time, and moves its checkpoint behind them. Not thread-safe.

    1. the records of a window are queued, in order
    2. Kafka acknowledges all records of this window and of those before it
    3. the window's checkpoint is sent, with the ends that Kafka told
    `on_wait` is called often while anything waits. `acknowledged` is the checkpoint of the last window that Kafka has;
    it is sent once nothing is waited for, and before at most every `checkpoint_seconds`. Methods raise ServiceError for
    what Kafka refuses.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        checkpoints: Checkpoints,
        *,
        ends: Ends,
        stop: Callable[[], bool],
        on_wait: Callable[[], None],
        checkpoint_seconds: float = 0.0,
    ) -> None:
        self.acknowledged: Checkpoint | None = None
        self.ends: Ends = {topic: dict(partitions) for topic, partitions in ends.items()}
        self._settings, self._publisher, self._checkpoints = settings, publisher, checkpoints
        self._stop, self._on_wait = stop, on_wait
        self._windows: deque[_Window] = deque()
        self._checkpoint_seconds = checkpoint_seconds
        self._saved_at = float("-inf")
        self._unsaved = False

    def send(self, records: Iterable[Record], checkpoint: Checkpoint) -> None:
        """Queue one window; `checkpoint` (its ends are filled in here) follows once all of it is acknowledged."""
        window = _Window()
        self._windows.append(window)
        topic: Topic | None = None
        name, on_delivery = "", None
        for number, record in enumerate(records):
            if record.topic is not topic:
                topic = record.topic
                name, on_delivery = (
                    self._settings.kafka.topic(topic),
                    window.delivered(self.ends.setdefault(topic.name, {})),
                )
            window.missing += 1
            self._publisher.send(
                name, key=record.key, value=record.value, headers=record.headers, on_delivery=on_delivery
            )
            if number % _RECORDS_PER_WAIT == 0:
                self._on_wait()
        window.checkpoint = checkpoint
        self.advance()

    @property
    def has_room(self) -> bool:
        """Whether another window may be sent now."""
        return len(self._windows) < MAX_WINDOWS and self._publisher.waiting < MAX_RECORDS

    @property
    def is_empty(self) -> bool:
        """Whether Kafka has acknowledged all windows, and their checkpoints have been sent."""
        return not self._windows

    def advance(self) -> None:
        """Take note of what has been acknowledged, and send the checkpoint if one is due. Doesn't wait: call often."""
        self._publisher.poll()
        while self._windows and self._windows[0].missing == 0 and self._windows[0].checkpoint is not None:
            self.acknowledged, self._unsaved = self._windows.popleft().checkpoint, True
        if self._unsaved and time.monotonic() - self._saved_at >= self._checkpoint_seconds:
            self._save()

    def wait_for_room(self) -> bool:
        """Wait until another window may be sent; False where the producer was told to stop."""
        while not self.has_room:
            if self._stop():
                return False
            self._wait(0.05)
        return not self._stop()

    def settle(self) -> bool:
        """Wait until everything is acknowledged, checkpoints and stage events included.

        False where the producer was told to stop and Kafka didn't acknowledge all within STOP_SECONDS: the checkpoint
        then stands where it is true.
        """
        deadline: float | None = None
        while self._windows or self._unsaved or self._publisher.waiting:
            if self._stop():
                deadline = deadline or time.monotonic() + STOP_SECONDS
                if time.monotonic() > deadline:
                    return False
            self._on_wait()
            self._publisher.flush(0.05)
            self.advance()
            if self._unsaved and not self._windows:
                self._save()
        return True

    def _save(self) -> None:
        if self.acknowledged is not None:
            ends = {topic: dict(partitions) for topic, partitions in self.ends.items() if partitions}
            self._checkpoints.save(msgspec.structs.replace(self.acknowledged, ends=ends))
        self._saved_at, self._unsaved = time.monotonic(), False

    def _wait(self, seconds: float) -> None:
        self._publisher.poll(seconds)
        self.advance()
        self._on_wait()
