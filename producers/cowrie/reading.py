"""The reading of one file, from its first byte that is new to its claim.

1. `started` is acknowledged, and a checkpoint that takes the attempt's number: none has the number of another
2. windows are read and their records sent; each checkpoint follows the acknowledgement of its window
3. the unfinished last line, where there is one, is sent
4. all of it is acknowledged, and the last checkpoint too
5. `failed` is sent where the content is damaged, then the claim, and both are acknowledged
6. a checkpoint says that the source is claimed
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from producers.checkpoints import Checkpoints
from producers.claims import Attempt
from producers.cowrie.decompression import Content, DamagedStream
from producers.cowrie.discovery import why_unreadable
from producers.cowrie.formats import Format, make_framer
from producers.cowrie.growth import Growth
from producers.cowrie.identity import Identity
from producers.cowrie.limits import TooManyDeadLetters, require_events
from producers.cowrie.lines import Frame
from producers.cowrie.records import records_of
from producers.cowrie.windows import Window, sort_lines
from producers.outlet import Outlet
from producers.progress import FileOutcome, Progress, State, Throttle
from tallystick.contracts import stages, timestamps
from tallystick.contracts.cowrie import KIND
from tallystick.contracts.sources import Checkpoint, unread
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

STAGE = "read"
UNFINISHED, TRUNCATED = "unfinished last line", "truncated"
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Tools:
    """What a file is read with. `sensor` is that of events that name none; `zone`, an IANA name, that of timestamps.

    Events stand in the file in `form`.
    """

    settings: Settings
    publisher: Publisher
    checkpoints: Checkpoints
    sensor: str
    stop: Callable[[], bool]
    on_progress: Callable[[Progress], None]
    form: Format = Format.AUTO
    zone: str = ""


Reach = Callable[[], stages.Reach]
"""Tells how far a live source has been taken."""


class Reading:
    """Reads what is new in one open file that has been recognised, and claims it. Use it once.

    `run` reads to the end of a file that is complete. Of one that is still written to, `begin`, then `read_on` as often
    as it may have grown, and in the end `conclude` or `leave`; `reach` goes with its heartbeats, and its checkpoint
    is sent every `checkpoint_seconds` at most. `size` is asked for the size of the file itself. Every method raises
    ServiceError for what Kafka refuses.
    """

    def __init__(
        self,
        tools: Tools,
        name: str,
        found: Identity,
        content: Content,
        *,
        size: Callable[[], int],
        reach: Reach | None = None,
        checkpoint_seconds: float = 0.0,
    ) -> None:
        self._tools, self._name, self._content, self._size = tools, name, content, size
        known = found.checkpoint or nothing_read(found.source, position=found.position, digest=found.digest.hexdigest())
        self._begun = msgspec.structs.replace(known, name=name, attempt=known.attempt + 1, claimed=False, damage="")
        self._counted_letter = known.position if known.unfinished else -1
        self._digest = found.digest
        self._at = msgspec.structs.replace(self._begun, unfinished=0, whole="")
        self._framer = make_framer(found.form, found.position, max_line_bytes=tools.settings.reader.max_line_bytes)
        self._attempt = attempt_of(tools, self._at, reach)
        self._outlet = Outlet(
            tools.settings,
            tools.publisher,
            tools.checkpoints,
            ends=known.ends,
            stop=tools.stop,
            on_wait=self._on_wait,
            checkpoint_seconds=checkpoint_seconds,
        )
        self._throttle = Throttle(_PROGRESS_SECONDS)
        self._zone = timestamps.zone_named(tools.zone)

    @property
    def source(self) -> str:
        """The source's id."""
        return self._at.source

    @property
    def acknowledged(self) -> int:
        """Up to which position Kafka has acknowledged everything."""
        at = self._outlet.acknowledged
        return at.position if at is not None else self._begun.position

    @property
    def is_acknowledged(self) -> bool:
        """Whether Kafka has acknowledged everything that was sent."""
        return self._outlet.is_empty

    def run(self, growth: Growth) -> FileOutcome:
        """Read to the end of the file, and claim it. An error of the file is an outcome."""
        if not self.begin():
            return self._end("interrupted")
        try:
            finished = self._send_windows(growth)
            if finished:
                return self.conclude()
        except OSError as error:
            return self.fail(error)
        except TooManyDeadLetters as error:
            return self.refuse(error)
        self.settle()
        return self.leave()

    @property
    def has_room(self) -> bool:
        """Whether another window may be sent."""
        return self._outlet.has_room

    def rename(self, name: str) -> None:
        """Call the source by another name from now on: its file was renamed."""
        self._name = self._attempt.name = name
        self._at = msgspec.structs.replace(self._at, name=name)

    def begin(self) -> bool:
        """Begin the attempt; False where the reader was told to stop meanwhile."""
        self._tell("reading")
        self._attempt.start()
        self._tools.checkpoints.save(self._begun)
        return self._outlet.settle()

    def read_on(self) -> bool:
        """Read a window, and send what it completes; False where there is nothing more, or no room.

        Raises OSError, and TooManyDeadLetters.
        """
        return self._outlet.has_room and bool(data := self._fill()) and self._take(data)

    def advance(self) -> None:
        """Move the checkpoint behind what Kafka has acknowledged, and send a heartbeat where one is due."""
        self._outlet.advance()
        self._attempt.beat()

    def settle(self) -> bool:
        """Wait until Kafka has acknowledged what was sent; False where the reader was told to stop before."""
        return self._outlet.settle()

    def leave(self) -> FileOutcome:
        """End without a claim; the next attempt goes on from the last checkpoint."""
        return self._end("interrupted")

    def fail(self, error: OSError) -> FileOutcome:
        """End with a failure: the file can't be read."""
        self._outlet.settle()
        self._attempt.fail(f"{self._name}: {why_unreadable(error)}")
        return self._end("failed", why_unreadable(error))

    def refuse(self, error: TooManyDeadLetters) -> FileOutcome:
        """End with a failure: the file is no log. What was sent stays, and the next attempt goes on behind it."""
        log.error("a log is not read on", path=self._name, reason=str(error))
        self._outlet.settle()
        self._attempt.fail(f"{self._name}: {error}")
        return self._end("failed", str(error))

    def conclude(self) -> FileOutcome:
        """Send the unfinished last line, where there is one, and claim the source. Raises TooManyDeadLetters."""
        damage = self._content.damage()
        self._send_last_line(TRUNCATED if damage else UNFINISHED)
        if not self._outlet.settle():
            return self._end("interrupted")
        self._at = msgspec.structs.replace(
            self._at, ends=self._outlet.ends, at=timestamps.now(), damage=str(damage or "")
        )
        _claim(self._attempt, self._at)
        if not self._outlet.settle():
            return self._end("interrupted")
        self._at = msgspec.structs.replace(self._at, claimed=True)
        self._tools.checkpoints.save(self._at)
        log.info("read a log", path=self._name, source=self._at.source, **_counts(self._at))
        return self._end("failed" if damage else "claimed", self._at.damage)

    def _send_windows(self, growth: Growth) -> bool:
        """Send all complete lines; False where the reader was told to stop before the end of the file."""
        while self._outlet.wait_for_room():
            growth.note()
            data = self._fill()
            if not data:
                open_ended = self._framer.unfinished_bytes or self._content.damage()
                if not (open_ended and growth.changes()):
                    return not self._tools.stop()
                continue
            if not self._take(data):
                return False
        return False

    def _fill(self) -> bytes:
        """Return the next window's content: bounded in bytes and in time, empty at the end of what can be read."""
        reader = self._tools.settings.reader
        parts, left, deadline = [], reader.window_bytes, time.monotonic() + reader.window_seconds
        try:
            while left > 0 and (data := self._content.read(left)):
                parts.append(data)
                left -= len(data)
                if time.monotonic() >= deadline:
                    break
        except DamagedStream as damage:
            log.warning("a log is damaged", path=self._name, reason=str(damage))
        except OSError:
            if not parts:  # else the next read tells of it, once what was read before is sent
                raise
        return b"".join(parts)

    def _take(self, data: bytes) -> bool:
        """Send what `data`, the content read last, completes; False where the reader was told to stop meanwhile."""
        unhashed = self._framer.undecided + data
        start, hashed = self._content.position - len(unhashed), 0
        for frame in self._framer.feed(data):
            if not self._outlet.wait_for_room():
                return False
            consumed = max(hashed, frame.end - start)
            self._digest.update(memoryview(unhashed)[hashed:consumed])
            digest = self._at.digest if frame.end == self._at.position else self._digest.hexdigest()
            self._send(self._sort(frame), position=frame.end, digest=digest)
            hashed = consumed
        self._digest.update(memoryview(unhashed)[hashed : len(unhashed) - len(self._framer.undecided)])
        return True

    def _sort(self, frame: Frame, reason: str = "") -> Window:
        return sort_lines(
            frame,
            source=self._at.source,
            sensor=self._tools.sensor,
            at=timestamps.now(),
            zone=self._zone,
            reason=reason,
        )

    def _send_last_line(self, reason: str) -> None:
        """Send the last line although it has no end: it is read again, once it has, unless it is an event already."""
        if not (length := self._framer.unfinished_bytes):
            return
        self._digest.update(self._framer.undecided)
        window = self._sort(self._framer.finish(), reason)
        position, whole = self._framer.position, self._digest.hexdigest()
        if window.letters:
            self._at = msgspec.structs.replace(self._at, unfinished=length, whole=whole)
            self._send(window, position=position, digest=self._at.digest)
        else:
            self._send(window, position=position + length, digest=whole)

    def _send(self, window: Window, *, position: int, digest: str) -> None:
        dead = sum(letter.last and letter.position != self._counted_letter for letter in window.letters)
        lines = self._at.lines + window.events + dead + window.blank
        require_events(
            dead=self._at.dead + dead, lines=lines, letters=window.letters, bounds=self._tools.settings.reader
        )
        self._at = msgspec.structs.replace(
            self._at,
            position=position,
            digest=digest,
            lines=lines,
            events=self._at.events + window.events,
            dead=self._at.dead + dead,
            blank=self._at.blank + window.blank,
            at=timestamps.now(),
        )
        most = self._tools.settings.reader.max_events_per_record
        records = records_of(window, self._at.source, max_events=most, zone=self._tools.zone)
        self._outlet.send(records, self._at)

    def _on_wait(self) -> None:
        self._attempt.beat()
        if self._throttle.due():
            self._tell("reading")

    def _end(self, state: State, reason: str = "") -> FileOutcome:
        self._tell(state)
        at = self._at
        return FileOutcome(self._name, at.source, at.attempt, state, _counts(at), reason, claimed=at.claimed)

    def _tell(self, state: Literal["reading"] | State) -> None:
        before = self._begun.events
        _tell(self._tools, self._name, self._at, state, content=self._content, size=self._size(), before=before)


def claim_again(tools: Tools, name: str, known: Checkpoint, content: Content, growth: Growth) -> FileOutcome:
    """Say of a source in which nothing has changed what was said of it last. Raises ServiceError."""
    if known.damage:
        log.warning("a log is damaged", path=name, reason=known.damage)
    _claim(attempt_of(tools, known), known)
    state: State = "failed" if known.damage else "claimed"
    _tell(tools, name, known, state, content=content, size=growth.size(), before=known.events)
    return FileOutcome(name, known.source, known.attempt, state, _counts(known), known.damage, claimed=True)


def nothing_read(source: str, *, position: int = 0, digest: str = "") -> Checkpoint:
    """Return the checkpoint of a source before its first attempt; `digest` covers what is before `position`."""
    return unread(source, KIND, "", attempt=0, position=position, digest=digest)


def attempt_of(tools: Tools, at: Checkpoint, reach: Reach | None = None) -> Attempt:
    """Return the attempt whose number `at` holds; `reach` goes with its heartbeats."""
    return Attempt(
        tools.settings,
        tools.publisher,
        source=at.source,
        kind=at.kind,
        name=at.name,
        stage=STAGE,
        number=at.attempt,
        reach=reach,
    )


def _claim(attempt: Attempt, at: Checkpoint) -> None:
    # The first word decides about `read`: after the claim, a failure would count for nothing.
    if at.damage:
        attempt.fail(f"{at.name}: {at.damage}")
    attempt.claim(counts=_counts(at), ends=at.ends, digest=at.whole or at.digest)


def _counts(at: Checkpoint) -> dict[str, int]:
    return {**at.counts, "bytes": at.position + at.unfinished}


def _tell(
    tools: Tools,
    name: str,
    at: Checkpoint,
    state: Literal["reading"] | State,
    *,
    content: Content,
    size: int,
    before: int,
) -> None:
    tools.on_progress(
        Progress(
            path=name,
            sensor=tools.sensor,
            source=at.source,
            attempt=at.attempt,
            position=at.position + at.unfinished,
            bytes_read=content.bytes_read(),
            size=size,
            lines=at.lines,
            events=at.events,
            dead=at.dead,
            state=state,
            before=before,
        )
    )
