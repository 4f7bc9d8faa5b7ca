"""Who watches a load and says how it stands: in status files, or nowhere."""

import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import orjson
import sqlalchemy as sa

from producers.cowrie.discovery import as_text
from producers.cowrie.progress import FileOutcome, Progress, Throttle
from producers.cowrie.selection import Job
from sinks.standing import SourceStanding
from tallystick.cli.status.counting import Held, read_held
from tallystick.cli.status.documents import Run, Snapshot, State, advance, documents, phase_of
from tallystick.cli.status.gathering import Evidence, snapshot_of
from tallystick.contracts import timestamps
from tallystick.errors import ConfigurationError
from tallystick.local.files import replace
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)


class Seen(msgspec.Struct, frozen=True):
    """What a load knows of itself: what the reader has told by path, and the standings by source."""

    progress: Mapping[str, Progress]
    outcomes: Mapping[str, FileOutcome]
    standings: Mapping[str, SourceStanding]
    engine: sa.Engine


class Observer:
    """Watches a load and says nothing. Leave it as a context manager: an error that ends the load ends it too."""

    def observe(self, seen: Seen) -> None:
        """Take the newest state. Cheap: call it often."""

    def end(self, seen: Seen, *, state: State) -> None:
        """Take the last state."""

    def abandon(self, reason: str) -> None:
        """Take that the load ended with an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abandon(str(error) or type(error).__name__)


class StatusFiles(Observer):
    """Writes status files into a folder, each replaced as a whole, at most every `seconds` and once at the end.

    A write that fails is told once in the log, and does not end the load.
    """

    def __init__(
        self, folder: Path, jobs: Sequence[Job], *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._clock = folder, clock
        self._throttle = Throttle(seconds, clock)
        self._started = clock()
        self._ingest_id = uuid.uuid4().hex
        self._sizes: dict[str, dict[str, int]] = {}
        for job in jobs:
            sizes = self._sizes.setdefault(job.sensor, {})
            sizes.update({as_text(file.path): _size(file.path) for file in job.files})
        self._held: dict[str, Held] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._warned = False

    def observe(self, seen: Seen) -> None:
        """See Observer."""
        if self._throttle.due():
            self._take(seen)
            self._write()

    def end(self, seen: Seen, *, state: State) -> None:
        """See Observer. A sensor whose own sources have all succeeded is done, whatever became of the others."""
        self._take(seen, ended=state)
        self._write()

    def abandon(self, reason: str) -> None:
        """See Observer."""
        for sensor, before in self._snapshots.items():
            if before.state == "running":
                problems = (*before.problems, reason)
                self._snapshots[sensor] = msgspec.structs.replace(before, state="failed", problems=problems)
        self._write()

    def _take(self, seen: Seen, *, ended: State = "running") -> None:
        self._count(seen)
        seconds = self._clock() - self._started
        for sensor in dict.fromkeys([*self._sizes, *(said.sensor for said in seen.progress.values())]):
            before = self._snapshots.get(sensor)
            evidence = Evidence(
                sizes=self._sizes.get(sensor, {}),
                progress=[said for said in seen.progress.values() if said.sensor == sensor],
                standings=seen.standings,
                held=self._held,
            )
            now = snapshot_of(sensor, evidence, ended=ended, seconds=seconds)
            if before is not None:
                now = msgspec.structs.replace(now, counters=advance(before.counters, now.counters), began=before.began)
            now = msgspec.structs.replace(now, began={phase_of(now).value: seconds, **now.began})
            self._snapshots[sensor] = now

    def _count(self, seen: Seen) -> None:
        sources = {said.source for said in seen.progress.values() if said.source}
        try:
            with seen.engine.connect() as connection:
                self._held = read_held(connection, sources)
        except sa.exc.SQLAlchemyError as error:
            log.warning("status files show older counts: the database can't be read", error=str(error)[:200])

    def _write(self) -> None:
        run = Run(self._ingest_id, socket.gethostname(), os.getpid(), timestamps.now())
        try:
            for name, content in documents(run, self._snapshots.values()).items():
                path = self._folder / name
                path.parent.mkdir(exist_ok=True)
                replace(path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "status files can't be written; the load goes on", folder=str(self._folder), error=str(error)
                )


def make_observer(settings: Settings, jobs: Sequence[Job]) -> Observer:
    """Return the observer that `settings` ask for. Raises ConfigurationError where its folder can't be written to."""
    folder = settings.status.dir
    if folder is None:
        return Observer()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        replace(probe, b"")
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"status files can't be written to {folder}: {error.strerror or error}; give another --status-dir, or make "
            "it a folder that this user may write to"
        ) from error
    return StatusFiles(folder, jobs, seconds=settings.status.poll_seconds)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0
