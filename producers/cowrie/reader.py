"""The reader: log files become slices, dead letters and claims. The shell around the pure parts beside it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from producers.checkpoints import Checkpoints, read_checkpoints
from producers.cowrie.decompression import CHUNK_BYTES, Content, DamagedStream, decompressed
from producers.cowrie.discovery import LogFile, Problem, as_text, why_unreadable
from producers.cowrie.growth import Growth
from producers.cowrie.identity import first_item, identify, recognise_form
from producers.cowrie.reading import Reading, Tools, attempt_of, claim_again, nothing_read
from producers.cowrie.selection import Job
from producers.outlet import STOP_SECONDS, Outlet
from producers.progress import FileOutcome, Progress
from tallystick.contracts import timestamps
from tallystick.contracts.cowrie import MAX_NAME_CHARS
from tallystick.contracts.sources import log_source_id
from tallystick.errors import UsageError
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)


def read_jobs(
    settings: Settings, jobs: Sequence[Job], *, stop: Callable[[], bool], on_progress: Callable[[Progress], None]
) -> list[FileOutcome]:
    """Read the files of `jobs`, each as its job says, one after the other, and return how each of them ended.

    A file that can't be read is an outcome and leaves the others alone.
    `stop` is asked often; once it is True the reader ends at the next window, and all that is left is `interrupted`.
    `on_progress` is called with every file before the first one begins, when a file begins and ends, and in between
    some times a second.
    Raises ServiceError where Kafka refuses a record or can't be asked for the positions (once it has begun, the reader
    waits for a Kafka that is away).
    """
    publisher = Publisher(settings, client_id="reader")
    checkpoints = Checkpoints(settings, publisher, read_checkpoints(settings))
    for job in jobs:
        for found in job.files:
            on_progress(_waiting(job, found))
    outcomes = []
    for job in jobs:
        tools = Tools(settings, publisher, checkpoints, job.sensor, stop, on_progress, job.form, job.zone)
        outcomes += [read_found(tools, found) for found in job.files]
    publisher.flush(STOP_SECONDS if stop() else None)
    return outcomes


def read_found(tools: Tools, found: LogFile | Problem) -> FileOutcome:
    """Read one file, or say why it can't be read. Raises ServiceError."""
    if tools.stop():
        return FileOutcome(as_text(found.path), "", 0, "interrupted", {})
    return _read_file(tools, found.path) if isinstance(found, LogFile) else _refuse(tools, found.path, found.reason)


def _read_file(tools: Tools, path: str) -> FileOutcome:
    name = as_text(path)
    try:
        with Path(path).open("rb", buffering=0) as file:
            content = decompressed(file)
            growth = Growth(
                file.fileno(),
                settle_seconds=tools.settings.reader.settle_seconds,
                stop=tools.stop,
                wait=tools.publisher.poll,
            )
            form = recognise_form(content, tools.form)
            while not first_item(content, form)[1] and growth.changes():
                growth.note()
                form = recognise_form(content, tools.form)
            found = identify(content, tools.checkpoints.known, form)
            known = found.checkpoint
            if known is not None and known.claimed and not found.changed:
                if _read_to_end(content) == known.damage:
                    return claim_again(tools, name, known, content, growth)
                content.seek(found.position)
            return Reading(tools, name, found, content, size=growth.size).run(growth)
    except OSError as error:
        return _refuse(tools, path, why_unreadable(error))
    except DamagedStream as error:
        return _refuse(tools, path, str(error))


def _read_to_end(content: Content) -> str:
    """Return what is wrong with the rest of `content`; empty where it is sound. Raises OSError."""
    try:
        while content.read(CHUNK_BYTES):
            pass
    except DamagedStream as damage:
        return str(damage)
    return str(content.damage() or "")


def _waiting(job: Job, found: LogFile | Problem) -> Progress:
    """Return what is told of a file that is to be read, as long as it has not begun."""
    try:
        size = Path(found.path).stat().st_size if isinstance(found, LogFile) else 0
    except OSError:
        size = 0  # reading it says why
    return Progress(as_text(found.path), "", 0, 0, 0, size, 0, 0, 0, "waiting", job.sensor)


def _refuse(tools: Tools, path: str, reason: str) -> FileOutcome:
    """Tell of a path that can't be read: as a source of its own, since its content isn't known.

    Each time is an attempt of its own, whose number is taken before it fails, so that every failure has its verdict.
    """
    name = as_text(path)
    source = f"path-{log_source_id(os.fsencode(Path(path).absolute()))}"
    log.error("a log can't be read", path=name, reason=reason)
    known = tools.checkpoints.known.get(source) or nothing_read(source)
    at = msgspec.structs.replace(known, name=name, attempt=known.attempt + 1, at=timestamps.now())
    tools.checkpoints.save(at)
    outlet = Outlet(tools.settings, tools.publisher, tools.checkpoints, ends={}, stop=tools.stop, on_wait=lambda: None)
    if not outlet.settle():
        return FileOutcome(name, source, at.attempt, "interrupted", {})
    attempt_of(tools, at).fail(f"{name}: {reason}")
    tools.on_progress(Progress(name, source, at.attempt, 0, 0, 0, 0, 0, 0, "failed", tools.sensor))
    return FileOutcome(name, source, at.attempt, "failed", {}, reason)


def check_sensor(sensor: str | None) -> None:
    """Raise UsageError where `sensor` is a name that no event may have."""
    if sensor is not None and not (0 < len(sensor) <= MAX_NAME_CHARS and sensor.isprintable()):
        raise UsageError(f"{sensor!r} can't be a sensor's name: give 1 to {MAX_NAME_CHARS} printable characters")
