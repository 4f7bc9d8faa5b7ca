"""One stage of one medium: what `tally run media-stage` does, in a process of its own, and never claims by itself."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from producers.media.archiving import archive_counts, archive_medium
from producers.media.claiming import Outflow, StageClaim, Told, encode_told
from producers.media.contents import Work
from producers.media.copier import emit_copies
from producers.media.copying import copy_all
from producers.media.enumerating import emit_enumeration
from producers.media.enumeration import enumerate_medium
from producers.media.errors import MediaError, PreconditionError
from producers.media.imaging import image_device
from producers.media.opening import open_contents
from producers.media.rules import Rules, load_rules
from sinks.media import leases
from sinks.media.reading import (
    copy_counts,
    count_records,
    last_enumeration,
    pending,
    read_medium,
    unacknowledged,
)
from sinks.standing import read_standings
from tallystick.cli.media.stage_process import LEASE
from tallystick.contracts import media as contract
from tallystick.contracts.media import ExitCode, Medium
from tallystick.contracts.stages import Verdict
from tallystick.contracts.topics import Topic
from tallystick.database.engine import make_engine, snapshot
from tallystick.database.errors import is_transient
from tallystick.errors import ContractError, DamagedArchiveError, FencedError, StorageError, UsageError
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.storage.store import Store

log = get_logger(__name__)
_WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.1


class _Stopped(Exception):
    """The process was told to stop."""


class StageWork:
    """What the stages share: the medium, the database, the way to Kafka; and a word to the worker that it goes on.

    While it is entered, a thread renews the lease and tells how far the stage is.
    """

    def __init__(
        self, settings: Settings, medium: Medium, engine: sa.Engine, *, run: int, stop: Callable[[], bool]
    ) -> None:
        self.settings, self.medium, self.engine, self.run, self.stop = settings, medium, engine, run, stop
        self._at = 0
        self._failed: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def advance(self) -> None:
        """Say that something has moved. Raises FencedError where another has taken the medium over."""
        self._at += 1
        if self._failed is not None:
            raise self._failed
        if self.stop():
            raise _Stopped

    def outflow(self, topic: Topic) -> Outflow:
        """Return the way of the medium's records to `topic`."""
        publisher = Publisher(self.settings, client_id="media-stage")
        return Outflow(self.settings, publisher, medium=self.medium.medium, topic=topic)

    def _keep(self) -> None:
        seconds = self.settings.media.lease_seconds
        while not self._over.wait(min(seconds / 3, 1.0)):
            say(Told(at=self._at))
            try:
                leases.renew(self.engine, self.medium.medium, LEASE, run=self.run, seconds=seconds)
            except (FencedError, sa.exc.SQLAlchemyError) as error:
                if not is_transient(error):
                    self._failed = error
                    return
                log.warning("the lease can't be renewed", error=str(error)[:200])


def run_stage(
    settings: Settings, stage: str, *, medium: str, attempt: int, run: int, stop: Callable[[], bool]
) -> int | None:
    """Carry out one stage, print its claim, and return the exit code; None where it was told to stop.

    Raises UsageError for a stage that nobody works on, and what can't be told apart by an exit code of media.
    """
    if stage not in _WORK:
        raise UsageError(f"no stage {stage!r} to be worked on; there are {', '.join(_WORK)}")
    engine = make_engine(settings)
    try:
        found = _require(engine, stage, medium=medium, attempt=attempt)
        with StageWork(settings, found, engine, run=run, stop=stop) as work:
            claim = _WORK[stage](work)
    except _Stopped:
        return None
    except (MediaError, ContractError, FencedError, StorageError, OSError) as error:
        log.exception("the stage has failed", stage=stage, medium=medium, error=str(error))
        return _code(error)
    finally:
        engine.dispose()
    say(Told(at=-1, claim=claim))
    losses = (*contract.ENUMERATION_LOSSES, *contract.COPY_LOSSES, *contract.IMAGE_LOSSES)
    return ExitCode.LOSSES if any(claim.counts.get(name, 0) for name in losses) else ExitCode.DONE


def _code(error: Exception) -> int:
    if isinstance(error, MediaError):
        return error.exit_code
    if isinstance(error, ContractError):
        return ExitCode.MALFORMED
    if isinstance(error, FencedError):
        return ExitCode.LOCKED
    return ExitCode.UNVERIFIED if isinstance(error, DamagedArchiveError) else ExitCode.OTHER


def _require(engine: sa.Engine, stage: str, *, medium: str, attempt: int) -> Medium:
    """Return the medium, once the database holds the verdict that this stage stands on.

    Raises PreconditionError where it doesn't come in time, and at once where a later attempt has begun.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        with snapshot(engine) as connection:
            found = read_medium(connection, medium)
            standing = next(iter(read_standings(connection, [medium])), None)
        if found is not None and standing is not None and found.attempt == standing.attempt == attempt:
            names = [one.name for one in standing.pipeline]
            verdicts = {one.stage: one.verdict for one in standing.stages}
            if stage in names and verdicts.get(names[names.index(stage) - 1]) is Verdict.SUCCEEDED:
                return found
        if found is not None and found.attempt > attempt:
            raise PreconditionError(
                "overtaken", f"attempt {attempt} at medium {medium} was overtaken by attempt {found.attempt}"
            )
        if time.monotonic() > deadline:
            raise PreconditionError(
                "no_verdict",
                f"attempt {attempt} at medium {medium} has no success at the stage before {stage}: ingest it again",
            )
        time.sleep(_LOOK_SECONDS)


def _image(work: StageWork) -> StageClaim:
    medium = work.medium
    device = Path(os.fsdecode(medium.root))
    imaged = image_device(device, medium.medium, images=work.settings.media_images, progress=work.advance)
    return StageClaim(counts=imaged.counts, digest=imaged.digest)


def _enumerate(work: StageWork) -> StageClaim:
    rules = load_rules(work.settings.media.patterns) if work.settings.media.patterns else Rules()
    with snapshot(work.engine) as connection:
        before = last_enumeration(connection, work.medium.medium)
    with enumerate_medium(work.medium, rules, beat=work.advance) as enumeration:
        return emit_enumeration(
            work.outflow(contract.INODES),
            work.medium,
            enumeration,
            folder=work.settings.media_listings,
            before=before.digest if before else "",
            advance=work.advance,
        )


def _copy(work: StageWork) -> StageClaim:
    medium, settings = work.medium, work.settings
    store = Store(settings.media_store)
    store.sweep()
    # One snapshot for both, as late rows of a run that was killed may still come in.
    with open_contents(medium) as contents, snapshot(work.engine) as connection:
        _require_loaded(connection, medium)
        before = copy_counts(connection, medium.medium, medium.attempt)
        copies = copy_all(
            _pending(connection, medium, work.run),
            contents,
            store,
            run=work.run,
            tries=settings.media.file_tries,
            workers=settings.media.workers,
            total=before["inodes"] - before["copied"] - before["excluded"],
            max_failed_share=settings.media.max_failed_share,
            progress=work.advance,
            stop=work.stop,
        )
        return emit_copies(
            work.outflow(contract.BLOBS), medium, copies, before=before, run=work.run, advance=work.advance
        )


def _require_loaded(connection: sa.Connection, medium: Medium) -> None:
    """Raise PreconditionError unless what was enumerated is there, and what could not be is acknowledged."""
    enumerated = last_enumeration(connection, medium.medium)
    records = count_records(connection, medium.medium, medium.attempt)
    if enumerated is None or enumerated.attempt != medium.attempt or enumerated.counts["records"] != records:
        raise PreconditionError(
            "not_loaded", f"the database holds {records} records of this attempt, not what was enumerated: ingest again"
        )
    lost = unacknowledged(connection, medium)
    if lost:
        kinds = ", ".join(f"{number} {kind}" for kind, number in lost.items())
        raise PreconditionError(
            "not_acknowledged",
            f"a part of the medium could not be enumerated ({kinds}): see `tally media show`, then ingest it again"
            " with --acknowledge 'why that is accepted'",
        )


def _pending(connection: sa.Connection, medium: Medium, run: int) -> Iterator[Work]:
    for found in pending(connection, medium.medium, medium.attempt, run=run):
        yield Work(
            part=found.part,
            ino=found.ino,
            paths=found.paths,
            size=found.size,
            mtime=found.mtime,
            mtime_ns=found.mtime_ns,
            dev=found.dev,
        )


def _archive(work: StageWork) -> StageClaim:
    settings = work.settings
    archive = archive_medium(
        work.medium, listings=settings.media_listings, archives=settings.media_archives, progress=work.advance
    )
    evidence = {member.name.decode("utf-8", "backslashreplace"): member.digest for member in archive.members}
    return StageClaim(counts=archive_counts(archive), digest=archive.digest, evidence=evidence)


_WORK: Mapping[str, Callable[[StageWork], StageClaim]] = {
    contract.IMAGED: _image,
    contract.ENUMERATED: _enumerate,
    contract.COPIED: _copy,
    contract.ARCHIVED: _archive,
}
"""The stages that somebody works on; `loaded` is the sinks'."""


def say(told: Told) -> None:
    """Print a word to the worker, as a line; from any thread."""
    with _SAYING:
        sys.stdout.buffer.write(encode_told(told) + b"\n")
        sys.stdout.buffer.flush()


_SAYING = threading.Lock()
