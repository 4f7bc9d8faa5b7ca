"""What one stream of one host has received and sent: its records, its cursor behind them, and its signs of life.

The order of effects, for every event:

1. its records, dead letters and notices are queued, in order
2. Kafka acknowledges them, and those of all events before it
3. the cursor passes it; the checkpoint is sent, at most every `atproto.checkpoint_seconds`

So a crash repeats, and never skips.
"""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from producers.atproto.counters import Counters
from producers.atproto.hosts import Host
from producers.atproto.live.measures import Measure
from producers.atproto.live.watermark import Entry, Watermark
from producers.atproto.protocol.messages import time_of
from producers.checkpoints import Checkpoints
from producers.claims import Attempt
from producers.outlet import MAX_RECORDS
from tallystick.contracts import dead_letters, timestamps
from tallystick.contracts.atproto import NOTICES, Notice, NoticeKind, encode, stream_source_id
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.measures import Sample
from tallystick.contracts.sources import Ends, unread
from tallystick.contracts.stages import Reach
from tallystick.contracts.topics import DEAD_LETTERS, Topic
from tallystick.kafka.publisher import Delivered, Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

STAGE = "followed"
ATTEMPT = 1
"""A stream has no end, so it has no second attempt."""
MAX_BYTES = 32 * 1024 * 1024
"""How many bytes of records are given to the producer at once: less than it has room for, as it would else block."""
SPAN = 20
"""How many times `high_water_frames` may have come that the cursor is not past: while one account's identity is
resolved the others go on, but what is received again after a crash has a bound."""
GAP_SECONDS = 1.0
"""Gaps within such a time are told of by one notice."""


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    topic: str
    key: bytes
    value: bytes
    on_delivery: Delivered


class _Gaps(msgspec.Struct):
    """Gaps that are still to be told of by one notice, which `entry` waits for."""

    entry: Entry
    before: int
    after: int
    count: int
    missing: int


class Stream:
    """Sends what a stream brings, and moves its cursor. Not thread-safe; methods may raise ServiceError, none waits.

    `advance` is to be called often: it takes note of acknowledgements, and sends what there is room for.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        checkpoints: Checkpoints,
        *,
        host: Host,
        kind: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.name = kind.removeprefix("atproto.")
        self.source = stream_source_id(kind, host.name)
        self.measures = Counters(common={"host": host.name, "stream": self.name})
        self.measures.count(Measure.BACKPRESSURE_SECONDS, 0)
        self.connected = False
        self.event_time = ""
        self._settings, self._publisher, self._checkpoints, self._clock = settings, publisher, checkpoints, clock
        known = checkpoints.known.get(self.source)
        self._at = known or unread(self.source, kind, host.name, attempt=ATTEMPT)
        self._ends: Ends = {topic: dict(partitions) for topic, partitions in self._at.ends.items()}
        self._watermark = Watermark(self._at.position)
        self._queue: deque[_Waiting] = deque()
        self._sent_bytes = 0
        self._saved, self._saved_at = self._at, float("-inf")
        self._gaps: _Gaps | None = None
        self._gap_told = float("-inf")
        self._attempt = Attempt(
            settings,
            publisher,
            source=self.source,
            kind=kind,
            name=host.name,
            stage=STAGE,
            number=ATTEMPT,
            reach=self._reach,
        )

    @property
    def position(self) -> int:
        """The cursor; 0 where there is none yet."""
        return self._watermark.position

    @property
    def has_room(self) -> bool:
        """Whether another event may be received. One more than there is room for does no harm."""
        bounds, mark = self._settings.atproto, self._watermark
        return (
            mark.waiting < bounds.high_water_frames
            and mark.waiting_bytes < bounds.high_water_bytes
            and mark.span < bounds.high_water_frames * SPAN
        )

    def start(self) -> None:
        """Say that the stream is being followed."""
        self._attempt.start()

    def begin(self, seq: int, *, size: int) -> Entry:
        """Take note of an event that has come. Whoever gets it holds it until `release`."""
        return self._watermark.begin(seq, size=size, at=self._clock())

    def begin_anew(self, seq: int) -> None:
        """Let the cursor stand before `seq`, with which the stream begins, once all that came before is done with."""
        self.release(self.begin(seq - 1, size=0))

    def hold(self, entry: Entry) -> None:
        """Let the cursor wait for one thing more, until it is released."""
        entry.missing += 1

    def release(self, entry: Entry) -> None:
        """Say that one thing is done that the cursor waited for."""
        for passed in self._watermark.release(entry):
            at = self._at
            self._at = msgspec.structs.replace(
                at,
                position=passed.seq,
                lines=at.lines + passed.events + passed.dead + passed.blank,
                events=at.events + passed.events,
                dead=at.dead + passed.dead,
                blank=at.blank + passed.blank,
            )

    def send(self, entry: Entry, topic: Topic, *, key: str, value: bytes) -> None:
        """Queue a record of an event. The cursor waits for its acknowledgement."""
        self.measures.count(Measure.RECORDS, topic=topic.name)
        self.hold(entry)
        ends, size = self._ends.setdefault(topic.name, {}), len(value)

        def on_delivery(partition: int, offset: int) -> None:
            self._sent_bytes -= size
            if offset >= ends.get(partition, 0):
                ends[partition] = offset + 1
            self.release(entry)

        self._queue.append(_Waiting(self._settings.kafka.topic(topic), key.encode(), value, on_delivery))
        self._pump()

    def bury(self, entry: Entry, *, reason: str, detail: str, payload: bytes) -> None:
        """Make a dead letter of an event, or of a part of one."""
        self.measures.count(Measure.REJECTED, reason=reason)
        entry.dead += 1
        letter = DeadLetter(
            source=self.source,
            position=entry.seq,
            reason=reason,
            payload=payload,
            detail=detail[:500],
            at=timestamps.now(),
        )
        for piece in dead_letters.pieces(letter):
            self.send(entry, DEAD_LETTERS, key=self.source, value=dead_letters.encode(piece))

    def notify(self, kind: NoticeKind, *, action: str, before: int = 0, after: int = 0, detail: str = "") -> None:
        """Tell of something that happened to the stream: in the log, in `atproto.notices`, and in a counter."""
        entry = self.begin(self._watermark.received, size=0)
        self._tell(entry, kind, action=action, before=before, after=after, detail=detail)

    def gap(self, before: int, after: int) -> None:
        """Tell that numbers between two events are missing, together with other gaps of the same second."""
        self.measures.count(Measure.MISSING, after - before - 1)
        if self._gaps is None:
            self._gaps = _Gaps(self.begin(self._watermark.received, size=0), before, after, 1, after - before - 1)
        else:
            self._gaps.after = after
            self._gaps.count += 1
            self._gaps.missing += after - before - 1
        self._tell_gaps()

    def advance(self) -> None:
        """Take note of what has been acknowledged, send what there is room for, and give a sign of life."""
        self._publisher.poll()
        self._pump()
        self._tell_gaps()
        if self._at != self._saved and time.monotonic() - self._saved_at >= self._settings.atproto.checkpoint_seconds:
            self._save()
        self._attempt.beat()

    def settle(self, seconds: float) -> bool:
        """Wait until all that is queued is acknowledged, and the checkpoint is; False where `seconds` are not enough.

        Events that somebody still holds stay before the cursor.
        """
        self._gap_told = float("-inf")
        self._tell_gaps()
        deadline = time.monotonic() + seconds
        while self._queue or self._publisher.waiting:
            if time.monotonic() > deadline:
                return False
            self._publisher.flush(0.05)
            self._pump()
        if self._at != self._saved:
            self._save()
        return self._publisher.flush(max(deadline - time.monotonic(), 0.1))

    def samples(self) -> list[Sample]:
        """Return all counters and gauges, as they are now."""
        oldest, mark, now = self._watermark.oldest_at, self._watermark, self._clock()
        gauges = {
            Measure.RECEIVED_SEQ: mark.received,
            Measure.ACKNOWLEDGED_SEQ: mark.position,
            Measure.WAITING_FRAMES: mark.waiting,
            Measure.WAITING_BYTES: mark.waiting_bytes,
            Measure.CURSOR_AGE_SECONDS: 0.0 if oldest is None else max(now - oldest, 0.0),
            Measure.CONNECTED: self.connected,
        }
        if event_time := time_of(self.event_time):
            lag = timestamps.seconds_between(event_time, timestamps.canonical(now))
            gauges[Measure.LAG_SECONDS] = max(lag, 0.0)
        for measure, value in gauges.items():
            self.measures.show(measure, float(value))
        return self.measures.samples()

    def _tell(self, entry: Entry, kind: NoticeKind, *, action: str, before: int, after: int, detail: str) -> None:
        self.measures.count(Measure.NOTICES, kind=kind.value)
        notice = Notice(
            host=self.host.name,
            stream=self.name,
            kind=kind,
            at=timestamps.now(),
            action=action,
            before=before,
            after=after,
            detail=detail[:500],
        )
        log.warning("stream notice", **{name: value for name, value in msgspec.structs.asdict(notice).items() if value})
        self.send(entry, NOTICES, key=self.host.name, value=encode(notice))
        self.release(entry)

    def _tell_gaps(self) -> None:
        if (gaps := self._gaps) is None or time.monotonic() - self._gap_told < GAP_SECONDS:
            return
        self._gaps, self._gap_told = None, time.monotonic()
        self._tell(
            gaps.entry,
            NoticeKind.GAP,
            action="goes on",
            before=gaps.before,
            after=gaps.after,
            detail=f"{gaps.missing} numbers are missing, at {gaps.count} places",
        )

    def _pump(self) -> None:
        while self._queue and self._publisher.waiting < MAX_RECORDS:
            size = len(self._queue[0].value)
            if self._sent_bytes and self._sent_bytes + size > MAX_BYTES:
                return
            record = self._queue.popleft()
            self._sent_bytes += size
            self._publisher.send(record.topic, key=record.key, value=record.value, on_delivery=record.on_delivery)

    def _save(self) -> None:
        self._saved, self._saved_at = self._at, time.monotonic()
        ends = {topic: dict(partitions) for topic, partitions in self._ends.items() if partitions}
        self._checkpoints.save(msgspec.structs.replace(self._at, ends=ends, at=timestamps.now()))

    def _reach(self) -> Reach:
        oldest = self._watermark.oldest_at
        position, received = self._watermark.position, self._watermark.received
        return Reach(
            position=position, end=max(position, received), since="" if oldest is None else timestamps.canonical(oldest)
        )
