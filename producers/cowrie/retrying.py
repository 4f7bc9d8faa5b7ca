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

import msgspec

from producers.checkpoints import Checkpoints, read_checkpoints
from producers.cowrie.reading import Tools, nothing_read
from producers.cowrie.scanning import compacted
from producers.cowrie.sending import Sending
from producers.cowrie.windows import TOO_LONG
from producers.outlet import STOP_SECONDS, Record
from producers.progress import FileOutcome, Progress
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
from tallystick.errors import UsageError
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

_AT_ONCE = 500


class Planned(msgspec.Struct, frozen=True):
    """A letter, the key of the record that is to bring its event, and the event; its time may need the `zone`."""

    letter: LetterRef
    key: bytes
    event: bytes
    zone: str = ""


def plan_letter(letter: LetterRef, content: bytes, *, sensor: str, max_line_bytes: int, zone: str = "") -> Planned:
    """Return how the content of `letter` goes into the log again; `sensor` is that of an event that names none.

    `zone` is the IANA name of the zone of a timestamp that names none; empty for UTC.

    An object that stands over several lines is put on one. Raises UnreadableLine where the content is still no event.
    """
    line = compacted(content.strip()) if b"\n" in content else content
    if len(line) > max_line_bytes:
        raise UnreadableLine(TOO_LONG, f"{len(line)} bytes, {max_line_bytes} are allowed")
    found = read_envelope(line, sensor or UNKNOWN_SENSOR, timestamps.zone_named(zone))
    return Planned(letter, session_key(found.sensor, found.session), line, zone)


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


class Retrying(Sending):
    """Sends one plan. Use it once."""

    def __init__(self, tools: Tools, path: Path) -> None:
        parts = list(retried(read_plan(path)))
        source, size = retries.retry_source(parts), len(parts)
        known = tools.checkpoints.known.get(source) or msgspec.structs.replace(nothing_read(source), kind=RETRY_KIND)
        letters = "1 dead letter" if size == 1 else f"{size} dead letters"
        super().__init__(tools, known=known, name=f"retry of {letters}", size=size)
        self._path, self._source = path, source

    def run(self) -> FileOutcome:
        """Do it. Raises ServiceError for what Kafka refuses."""
        if self._known.claimed:
            return self._claim_again(digest=self._source)
        if not self._begin() or not self._send_all() or not self._outlet.settle():
            return self._end("interrupted")
        if not self._conclude(digest=self._source):
            return self._end("interrupted")
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
        value, headers = slices.encode(
            self._source.encode(), SCHEMA, position, [position], [one.event], one.zone.encode()
        )
        return Record(EVENTS, one.key, value, [*headers, (retries.HEADER, encode_ref(one.letter))])


def _planned(line: bytes, where: str) -> Planned:
    try:
        return msgspec.json.decode(line, type=Planned)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{where}: not part of a plan: {error}; remove that file, and run `tally dlq retry` again"
        ) from error
