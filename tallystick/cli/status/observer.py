"""Who watches a load and says how it stands: in status files, or nowhere."""

import os
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import orjson
import sqlalchemy as sa

from producers.progress import Progress, Throttle
from sinks.standing import SourceStanding
from tallystick.cli.status.counting import Held, read_held
from tallystick.cli.status.documents import Run, Snapshot, State, advance, documents, phase_files, total
from tallystick.cli.status.gathering import Evidence, snapshot_of
from tallystick.contracts import timestamps
from tallystick.errors import ConfigurationError
from tallystick.local.files import replace
from tallystick.logs import get_logger, without_secrets
from tallystick.settings import Settings

log = get_logger(__name__)

_REST = 20
"""Between two counts passes so many times the time that one takes."""


class Seen(msgspec.Struct, frozen=True):
    """What a load knows of itself: what the reader has told by path, and the standings by source."""

    progress: Mapping[str, Progress]
    standings: Mapping[str, SourceStanding]
    engine: sa.Engine


class Observer:
    """Watches a load and says nothing. Leave it as a context manager: an error that ends the load ends it too."""

    def observe(self, seen: Seen) -> None:
        """Take the newest state. Cheap: call it often."""

    def end(self, seen: Seen, *, state: State, problems: Sequence[str]) -> None:
        """Take the last state, and what is wrong with the load as a whole."""

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
    """Writes status files of `sensors` into a folder, each replaced as a whole, at most every `seconds` and at the end.

    A write that fails is told once in the log, and does not end the load.
    """

    def __init__(
        self, folder: Path, sensors: Sequence[str], *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._clock = folder, clock
        self._throttle = Throttle(seconds, clock)
        self._started = clock()
        self._ingest_id = uuid.uuid4().hex
        self._snapshots = {sensor: Snapshot(sensor) for sensor in sensors}
        self._total = Snapshot("")
        self._held: dict[str, Held] = {}
        self._count_at = float("-inf")
        self._ended = False
        self._warned = False

    def __enter__(self) -> Self:
        """Say that a load has begun, so that nobody takes the end of the one before for its own."""
        self._add_up("running", ())
        self._write()
        return self

    def observe(self, seen: Seen) -> None:
        """See Observer."""
        if self._throttle.due():
            if self._clock() >= self._count_at:
                self._count(seen)
            self._take(seen, "running")
            self._write()

    def end(self, seen: Seen, *, state: State, problems: Sequence[str]) -> None:
        """See Observer."""
        self._ended = True
        self._count(seen)
        self._take(seen, state, tuple(problems))
        self._write()

    def abandon(self, reason: str) -> None:
        """See Observer."""
        if self._ended:
            return
        for sensor, before in self._snapshots.items():
            if before.state == "running":
                self._snapshots[sensor] = msgspec.structs.replace(before, state="failed")
        self._add_up("failed", (reason,))
        self._write()

    def _take(self, seen: Seen, state: State, problems: tuple[str, ...] = ()) -> None:
        files: defaultdict[str, list[Progress]] = defaultdict(list)
        for said in seen.progress.values():
            files[said.sensor].append(said)
        seconds = self._clock() - self._started
        for sensor, before in self._snapshots.items():
            evidence = Evidence(files[sensor], seen.standings, self._held)
            self._snapshots[sensor] = advance(before, snapshot_of(sensor, evidence, ended=state, seconds=seconds))
        self._add_up(state, problems)

    def _add_up(self, state: State, problems: tuple[str, ...]) -> None:
        told = tuple(map(without_secrets, problems))
        seconds = self._clock() - self._started
        everything = total(self._snapshots.values(), state=state, problems=told, seconds=seconds)
        self._total = advance(self._total, everything)

    def _count(self, seen: Seen) -> None:
        """Look into the database; where that takes long, more rarely. While it is away, what was seen last stays."""
        began = self._clock()
        sources = {said.source for said in seen.progress.values() if said.source}
        try:
            with seen.engine.connect() as connection:
                self._held = read_held(connection, sources)
        except sa.exc.SQLAlchemyError as error:
            log.warning("status files show older counts: the database can't be read", error=str(error)[:200])
        now = self._clock()
        self._count_at = now + _REST * (now - began)

    def _write(self) -> None:
        run = Run(self._ingest_id, socket.gethostname(), os.getpid(), timestamps.now())
        files = documents(run, self._total, self._snapshots.values())
        try:
            for name in phase_files(self._snapshots):
                if name not in files:
                    (self._folder / name).unlink(missing_ok=True)
            for name, content in files.items():
                path = self._folder / name
                path.parent.mkdir(exist_ok=True)
                replace(path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "status files can't be written; the load goes on", folder=str(self._folder), error=str(error)
                )


def make_observer(settings: Settings, sensors: Sequence[str]) -> Observer:
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
    return StatusFiles(folder, sensors, seconds=settings.status.poll_seconds)
