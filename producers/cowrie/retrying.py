"""Sending the content of dead letters once more, as a source of its own with a claim of its own.

1. `started` is acknowledged, and a checkpoint that takes the attempt's number: none has the number of another
2. each letter's event is sent as a slice that names its letter; checkpoints follow the acknowledgement
3. all of it is acknowledged, and the last checkpoint too; the claim is sent and acknowledged
4. a checkpoint says that the source is claimed

What is to be sent stands in a plan, a file: the same plan is the same source, so a retry that was cut short goes on.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from producers.checkpoints import Checkpoints, read_checkpoints
from producers.cowrie.progress import FileOutcome, Progress, State, Throttle
from producers.cowrie.reading import Tools, attempt_of, nothing_read
from producers.cowrie.scanning import compacted
from producers.cowrie.windows import TOO_LONG
from producers.outlet import STOP_SECONDS, Outlet, Record
from tallystick.contracts import retries, slices, timestamps
from tallystick.contracts.cowrie import (
    EVENTS,
    RETRY_KIND,
    SCHEMA,
    UNKNOWN_SENSOR,
    UnreadableLine,
    event_digest,
    read_envelope,
    session_key,
)
from tallystick.contracts.dead_letters import LetterRef, encode_ref
from tallystick.contracts.retries import Retried
from tallystick.contracts.sources import Checkpoint
from tallystick.errors import UsageError
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

_PROGRESS_SECONDS = 0.2
_AT_ONCE = 500


class Planned(msgspec.Struct, frozen=True):
    """A letter, the key of the record that is to bring its event, and the event."""

    letter: LetterRef
    key: bytes
    event: bytes


def plan_letter(letter: LetterRef, content: bytes, *, sensor: str, max_line_bytes: int) -> Planned:
    """Return how the content of `letter` goes into the log again; `sensor` is that of an event that names none.

    An object that stands over several lines is put on one. Raises UnreadableLine where the content is still no event.
    """
    line = compacted(content.strip()) if b"\n" in content else content
    if len(line) > max_line_bytes:
        raise UnreadableLine(TOO_LONG, f"{len(line)} bytes, {max_line_bytes} are allowed")
    found = read_envelope(line, sensor or UNKNOWN_SENSOR)
    return Planned(letter, session_key(found.sensor, found.session), line)


def write_plan(path: Path, planned: Iterable[Planned]) -> None:
    """Write a plan, in the order of the letters, so that it is whole or not there."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        for one in planned:
            file.write(msgspec.json.encode(one) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_plan(path: Path) -> Iterator[Planned]:
    """Yield what a plan holds. Raises UsageError where it is none."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _planned(line, f"{path}, line {number}")
    except OSError as error:
        raise UsageError(f"the plan {path} can't be read: {error.strerror}; run `tally dlq retry` again") from error


def retried(planned: Iterable[Planned]) -> Iterator[Retried]:
    """Yield what identifies each part of a plan."""
    return (Retried(one.letter, one.key, event_digest(one.event)) for one in planned)


def retry_plans(
    settings: Settings, paths: Sequence[Path], *, stop: Callable[[], bool], on_progress: Callable[[Progress], None]
) -> Iterator[FileOutcome]:
    """Send what stands in each plan of `paths`, claim it, and yield what came of it. Safe to repeat.

    `stop` and `on_progress` are those of a reader. Raises UsageError where there is no such plan, ServiceError where
    Kafka refuses a record or can't be asked for the positions.
    """
    publisher = Publisher(settings, client_id="retrier")
    checkpoints = Checkpoints(settings, publisher, read_checkpoints(settings))
    tools = Tools(settings, publisher, checkpoints, UNKNOWN_SENSOR, stop, on_progress)
    for path in paths:
        outcome = Retrying(tools, path).run()
        publisher.flush(STOP_SECONDS if stop() else None)
        yield outcome


class Retrying:
    """Sends one plan. Use it once."""

    def __init__(self, tools: Tools, path: Path) -> None:
        self._tools, self._path = tools, path
        parts = list(retried(read_plan(path)))
        self._source, self._size = retries.retry_source(parts), len(parts)
        self._known = tools.checkpoints.known.get(self._source) or msgspec.structs.replace(
            nothing_read(self._source), kind=RETRY_KIND
        )
        letters = "1 dead letter" if self._size == 1 else f"{self._size} dead letters"
        self._at = msgspec.structs.replace(
            self._known, name=f"retry of {letters}", attempt=self._known.attempt + 1, claimed=False
        )
        self._attempt = attempt_of(tools, self._at)
        self._outlet = Outlet(
            tools.settings,
            tools.publisher,
            tools.checkpoints,
            ends=self._known.ends,
            stop=tools.stop,
            on_wait=self._on_wait,
        )
        self._throttle = Throttle(_PROGRESS_SECONDS)

    def run(self) -> FileOutcome:
        """Do it. Raises ServiceError for what Kafka refuses."""
        if self._known.claimed:
            return self._claim_again()
        self._tell("reading")
        self._attempt.start()
        self._tools.checkpoints.save(self._at)
        if not self._outlet.settle() or not self._send_all() or not self._outlet.settle():
            return self._end("interrupted")
        self._at = msgspec.structs.replace(self._at, ends=self._outlet.ends, at=timestamps.now())
        self._claim()
        if not self._outlet.settle():
            return self._end("interrupted")
        self._at = msgspec.structs.replace(self._at, claimed=True)
        self._tools.checkpoints.save(self._at)
        log.info("retried dead letters", source=self._source, letters=self._size)
        return self._end("claimed")

    def _send_all(self) -> bool:
        """Send what was not acknowledged yet; False where the retrier was told to stop."""
        waiting: list[Planned] = []
        size = 0
        for number, one in enumerate(read_plan(self._path)):
            if number < self._known.position:
                continue
            waiting.append(one)
            size += len(one.event)
            if len(waiting) == _AT_ONCE or size >= self._tools.settings.reader.window_bytes:
                if not self._outlet.wait_for_room():
                    return False
                self._send(waiting)
                waiting, size = [], 0
        if waiting and self._outlet.wait_for_room():
            self._send(waiting)
            waiting = []
        return not waiting

    def _send(self, planned: list[Planned]) -> None:
        first = self._at.position
        self._at = msgspec.structs.replace(
            self._at,
            position=first + len(planned),
            lines=self._at.lines + len(planned),
            events=self._at.events + len(planned),
            at=timestamps.now(),
        )
        self._outlet.send((self._record(first + index, one) for index, one in enumerate(planned)), self._at)

    def _record(self, position: int, one: Planned) -> Record:
        value, headers = slices.encode(self._source.encode(), SCHEMA, position, [position], [one.event])
        return Record(EVENTS, one.key, value, [*headers, (retries.HEADER, encode_ref(one.letter))])

    def _claim_again(self) -> FileOutcome:
        """Say of a source in which nothing has changed what was said of it last."""
        self._at = self._known
        self._attempt = attempt_of(self._tools, self._at)
        self._claim()
        return self._end("claimed")

    def _claim(self) -> None:
        self._attempt.claim(counts=_counts(self._at), ends=self._at.ends, digest=self._source)

    def _on_wait(self) -> None:
        self._attempt.beat()
        if self._throttle.due():
            self._tell("reading")

    def _end(self, state: State) -> FileOutcome:
        self._tell(state)
        at = self._at
        return FileOutcome(at.name, at.source, at.attempt, state, _counts(at), claimed=at.claimed)

    def _tell(self, state: Literal["reading"] | State) -> None:
        at = self._at
        self._tools.on_progress(
            Progress(
                path=at.name,
                source=at.source,
                attempt=at.attempt,
                position=at.position,
                bytes_read=at.position,
                size=self._size,
                lines=at.lines,
                events=at.events,
                dead=0,
                state=state,
            )
        )


def _planned(line: bytes, where: str) -> Planned:
    try:
        return msgspec.json.decode(line, type=Planned)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{where}: not part of a plan: {error}; remove that file, and run `tally dlq retry` again"
        ) from error


def _counts(at: Checkpoint) -> dict[str, int]:
    return {"lines": at.lines, "events": at.events, "dead": 0, "blank": 0}
