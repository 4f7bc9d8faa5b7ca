"""One retry of dead letters: which can be read now, how those go through the pipeline, and what came of each.

Its plan is kept until its source has its verdicts, so that the next retry goes on with one that was cut short.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec
import sqlalchemy as sa
import typer

from producers.cowrie.retrying import Planned, plan_letter, read_plan, retried, write_plan
from sinks import letters as stored
from sinks.letters import Letter
from sinks.rehearsal import MOST, would_refuse
from tallystick.cli.letters import letters_in_words
from tallystick.cli.load import run_reader
from tallystick.cli.loading import LoadResult, ReaderCommand
from tallystick.cli.progress import View
from tallystick.cli.sources import print_trouble, standing_as_dict, standings_table
from tallystick.cli.terminal import console, print_json, safe
from tallystick.contracts import cowrie, slices
from tallystick.contracts.cowrie import UnreadableLine
from tallystick.contracts.dead_letters import READ
from tallystick.contracts.retries import SOURCE_PREFIX, retry_source
from tallystick.database.engine import snapshot
from tallystick.errors import ServiceError
from tallystick.kafka.topics import cluster_id
from tallystick.settings import Settings

_SHOWN = 20


class Stays(msgspec.Struct, frozen=True):
    """A letter that stays one, and why."""

    id: int
    reason: str


class RetryResult(msgspec.Struct):
    """What came of a retry. The content of the `readable` letters is an event now; without a `load` none was sent.

    `left` are those that the limit on their number left for the next retry.
    """

    chosen: int
    already: list[int]
    readable: list[int]
    stays: list[Stays]
    resolved: list[int]
    load: LoadResult | None = None
    dry: bool = False
    left: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether every chosen letter is resolved, or could be."""
        if self.dry:
            return not self.stays
        if self.load is not None and not self.load.succeeded:
            return False
        return len(self.resolved) + len(self.already) == self.chosen


class Retry:
    """Tries `letters` again; `replacement` takes the place of the content of a single one.

    `left` is how many there are beside them.
    """

    def __init__(
        self,
        settings: Settings,
        engine: sa.Engine,
        letters: Sequence[Letter],
        *,
        sensor: str | None,
        replacement: bytes | None,
        left: int = 0,
    ) -> None:
        self._settings, self._engine, self._sensor, self._replacement = settings, engine, sensor, replacement
        # In this order the same letters make the same plan in every database.
        self._letters = sorted((letter for letter in letters if not letter.resolved), key=lambda letter: letter.ref)
        already = [letter.id for letter in letters if letter.resolved]
        self._result = RetryResult(len(letters), already, [], [], [], left=left)

    def rehearse(self) -> RetryResult:
        """Say which letters can be read now, and send nothing."""
        for _ in self._planned():
            pass
        self._result.dry = True
        return self._result

    def run(self, view: View) -> RetryResult:
        """Send what can be read now, wait for the verdicts, and say which letters are resolved.

        A retry that was cut short is taken up again with it. Raises ServiceError where another one is under way.
        """
        with self._alone() as folder:
            self._write_plan(folder)
            plans = sorted(folder.glob(f"{SOURCE_PREFIX}*.plan"))
            if not plans:
                return self._result
            reader = ReaderCommand(("retrier", "--", *map(str, plans)), kind=cowrie.RETRY_KIND, unit="letters")
            self._result.load = run_reader(self._settings, reader, view=view)
            for standing in self._result.load.standings:
                if standing.is_final(claimed=True):
                    (folder / f"{standing.source}.plan").unlink(missing_ok=True)
        with snapshot(self._engine) as connection:
            waiting = stored.open_ids(connection, self._result.readable)
        self._result.resolved = [number for number in self._result.readable if number not in waiting]
        self._result.stays += [Stays(number, "its event is not in the database") for number in sorted(waiting)]
        return self._result

    @contextmanager
    def _alone(self) -> Iterator[Path]:
        """Give the folder of the plans of this log; the lock on it is gone with the process, however that ends."""
        log = f"{cluster_id(self._settings)}-{self._settings.kafka.topic_prefix}"
        folder = self._settings.home / "retries" / log
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "lock").open("a")
        except OSError as error:
            raise ServiceError(f"{folder} can't be written: {error}; set TALLY_HOME to a folder of yours") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ServiceError("another retry is under way here: wait for it, then retry again") from error
            yield folder

    def _write_plan(self, folder: Path) -> None:
        path = folder / "next"
        write_plan(path, self._planned())
        if self._result.readable:
            path.replace(folder / f"{retry_source(retried(read_plan(path)))}.plan")
        else:
            path.unlink()

    def _planned(self) -> Iterator[Planned]:
        letters = iter(self._letters)
        while some := list(islice(letters, MOST)):
            readable = [(letter, planned) for letter in some if (planned := self._plan(letter)) is not None]
            refused = would_refuse(self._engine, [_as_record(planned) for _, planned in readable])
            for index, (letter, planned) in enumerate(readable):
                if index in refused:
                    self._result.stays.append(Stays(letter.id, refused[index]))
                else:
                    self._result.readable.append(letter.id)
                    yield planned

    def _plan(self, letter: Letter) -> Planned | None:
        if letter.origin != READ and letter.topic != cowrie.EVENTS.name:
            self._result.stays.append(Stays(letter.id, f"it is of the topic {letter.topic!r}, which holds no events"))
            return None
        try:
            most = self._settings.reader.max_line_bytes
            if self._replacement is None and letter.size > 2 * most:
                raise UnreadableLine("line is too long", f"{letter.size} bytes")
            return plan_letter(letter.ref, self._content(letter), sensor=self._sensor_of(letter), max_line_bytes=most)
        except (UnreadableLine, LookupError) as error:
            self._result.stays.append(Stays(letter.id, str(error)))
            return None

    def _content(self, letter: Letter) -> bytes:
        if self._replacement is not None:
            return self._replacement
        with snapshot(self._engine) as connection:
            return stored.content(connection, letter)

    def _sensor_of(self, letter: Letter) -> str:
        if self._sensor or letter.sensor or not letter.key:
            return self._sensor or letter.sensor
        try:
            return cowrie.read_session_key(letter.key.encode())[0]
        except msgspec.DecodeError:
            return ""  # the record had no key of ours, so it tells of no sensor


def print_retry(result: RetryResult) -> None:
    """Print what came of a retry."""
    if result.load is not None:
        if result.load.standings:
            console().print(standings_table(result.load.standings))
        print_trouble(result.load.standings)
        for problem in result.load.problems:
            typer.echo(safe(problem))
    for stays in result.stays[:_SHOWN]:
        typer.echo(f"letter {stays.id} stays: {safe(stays.reason)}")
    if (more := len(result.stays) - _SHOWN) > 0:
        typer.echo(f"… and {more:,} more")
    already = f"; {letters_in_words(len(result.already))} resolved before" if result.already else ""
    if not result.chosen:
        typer.echo("no open letter is chosen")
    elif result.dry:
        typer.echo(f"{len(result.readable):,} of {letters_in_words(result.chosen)} can be read now{already}")
    else:
        typer.echo(f"{len(result.resolved):,} of {letters_in_words(result.chosen)} resolved{already}")
    if result.left:
        typer.echo(f"{letters_in_words(result.left)} more: retry again, or raise --limit")
    if result.load is not None and result.load.interrupted:
        typer.echo("interrupted: what was acknowledged is kept, and the next retry goes on from there")


def print_retry_as_json(result: RetryResult) -> None:
    """Print what came of a retry for programs."""
    load = result.load
    print_json(
        {
            "succeeded": result.succeeded,
            "dry_run": result.dry,
            "chosen": result.chosen,
            "left": result.left,
            "already_resolved": result.already,
            "readable": result.readable,
            "resolved": result.resolved,
            "stays": msgspec.to_builtins(result.stays),
            "sources": [standing_as_dict(standing) for standing in load.standings] if load else [],
            "problems": load.problems if load else [],
        }
    )


def _as_record(planned: Planned) -> tuple[bytes, bytes, slices.Headers]:
    value, headers = slices.encode(b"rehearsal", cowrie.SCHEMA, 0, [0], [planned.event])
    return planned.key, value, headers
