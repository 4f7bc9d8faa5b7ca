"""One load: all of its processes, what they say, and when it is over.

The reader says what it has claimed; the database says what verdicts the claims have met. A load is over when the
reader is done and every source that it named has its verdicts, or when it can't go on; it is never over silently.
Where a replay was cut short, it is not over before the tables are full again either.
"""

import time
from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa

from producers.progress import FileOutcome, Progress
from sinks.refills import Refill, read_refills
from sinks.standing import SourceStanding, StageStanding, read_standings
from tallystick.cli.choosing import Asked
from tallystick.cli.deployment import (
    LOG_ROLES,
    YIELDS,
    ReaderSays,
    prepare,
    reader_spec,
    role_specs,
    tell_of_dead_reader,
)
from tallystick.cli.progress import Stage, View
from tallystick.cli.status.observer import Observer, Seen
from tallystick.cli.warm import nursery
from tallystick.contracts import cowrie
from tallystick.database.engine import make_engine
from tallystick.database.errors import is_transient
from tallystick.errors import ServiceError
from tallystick.local import stack
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.child import install
from tallystick.supervision.exits import Exit, ExitReason, last_words
from tallystick.supervision.records import Records
from tallystick.supervision.restarting import PARTIAL_CODE, RoleSpec
from tallystick.supervision.supervisor import Supervisor

log = get_logger(__name__)

LOOK_SECONDS = 0.25
MEND_SECONDS = 5.0
"""After how many seconds without progress the local stack is looked after."""
WARN_SECONDS = 30.0
RESTARTS = 5
"""After how many restarts in a row a role is given up."""


Shown = Callable[[Sequence[Progress], Sequence[SourceStanding]], list[Stage]]
"""Returns what is to be shown of what the reader and the database say."""


class ReaderCommand(msgspec.Struct, frozen=True):
    """What brings the events: `arguments` after `tally run`, its environment, and the kind of its sources.

    Of a dead reader of several kinds, None, only its silence tells. `unit` is what its progress counts, `waiting` are
    the roles that wait for what it brings, `shown` tells how far they are, where it isn't as with logs. `service` is
    what the records of ended processes begin with.
    """

    arguments: tuple[str, ...]
    kind: str | None = cowrie.KIND
    unit: str = "bytes"
    env: dict[str, str] = {}
    waiting: tuple[RoleSpec, ...] = LOG_ROLES
    shown: Shown | None = None
    service: str = "load"


def log_reader(asked: Asked) -> ReaderCommand:
    """Return the command that reads log files."""
    spec = reader_spec(asked.paths, sensor=asked.sensor, options=asked.options, one_shot=True)
    return ReaderCommand(spec.argv)


class LoadResult(msgspec.Struct):
    """What came of a load. `problems` are those that belong to no source: a role that kept failing, a stall."""

    standings: list[SourceStanding]
    problems: list[str]
    seconds: float
    interrupted: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether every source has succeeded, and there was at least one."""
        return (
            not self.problems
            and not self.interrupted
            and bool(self.standings)
            and all(standing.succeeded for standing in self.standings)
        )


class Load:
    """Runs one load in this process's supervisor. `run` may be called once."""

    def __init__(self, settings: Settings, reader: ReaderCommand, *, view: View, observer: Observer) -> None:
        self._asked = settings
        self._settings = stack.resolve(settings)
        self._reader, self._view, self._observer = reader, view, observer
        self._progress: dict[str, Progress] = {}
        self._outcomes: dict[str, FileOutcome] = {}
        self._standings: dict[str, SourceStanding] = {}
        self._refills: dict[str, Refill] = {}
        self._reader_done = False
        self._problems: list[str] = []
        self._moved_at = time.monotonic()
        self._warned_at = self._mended_at = self._moved_at
        self._engine = make_engine(self._settings)
        self._logs = self._settings.home / "logs"

    def run(self) -> LoadResult:
        """Load, and return once every source has its verdict, or once it is known that it can't be had."""
        started = time.monotonic()
        prepare(self._settings, self._engine)
        interrupted = False
        stop = install()
        with (
            Records(self._settings) as records,
            Supervisor(
                on_exit=self._on_exit,
                on_line=self._on_line,
                log_dir=self._logs,
                watcher=records,
                nursery=nursery(),
            ) as supervisor,
        ):
            for spec in self._specs():
                supervisor.start(spec)
            while not self._is_over(supervisor) and not (interrupted := stop()):
                supervisor.poll(LOOK_SECONDS)
                self._look()
                self._show()
                self._mind_stall()
        self._look()
        result = LoadResult(
            standings=[self._standings[source] for source in self._sources() if source in self._standings],
            problems=self._problems + self._unknown(),
            seconds=time.monotonic() - started,
            interrupted=interrupted,
        )
        problems = [*result.problems, *(["interrupted; the next load goes on from here"] if interrupted else [])]
        self._observer.end(self._seen(), state="done" if result.succeeded else "failed", problems=problems)
        self._engine.dispose()
        return result

    def _specs(self) -> list[RoleSpec]:
        reader = RoleSpec("reader", self._reader.arguments, one_shot=True, env=self._reader.env)
        return role_specs(
            self._settings,
            [*self._reader.waiting, reader],
            service=self._reader.service,
            yields=YIELDS,
            max_restarts=RESTARTS,
        )

    def _seen(self) -> Seen:
        return Seen(self._progress, self._standings, self._engine)

    def _on_line(self, role: str, line: str) -> None:
        if role != "reader":
            return
        said = msgspec.json.decode(line, type=ReaderSays)
        if said.progress is not None:
            if said.progress.state == "waiting" and said.progress.path in self._progress:
                return  # a reader that was started again: what is known of the file stays
            if self._progress.get(said.progress.path) != said.progress:
                self._moved_at = time.monotonic()
            self._progress[said.progress.path] = said.progress
        if said.outcome is not None:
            self._outcomes[said.outcome.path] = said.outcome

    def _on_exit(self, ended: Exit) -> None:
        if ended.reason is ExitReason.CANCELLED:
            return
        if ended.role == "reader":
            self._reader_done = ended.reason is ExitReason.FINISHED or ended.exit_code == PARTIAL_CODE
            if not self._reader_done and self._reader.kind:
                reading = [progress for progress in self._progress.values() if progress.state == "reading"]
                tell_of_dead_reader(self._settings, self._reader.kind, reading, ended)
        if ended.reason is not ExitReason.FINISHED and ended.exit_code != PARTIAL_CODE:
            how = ended.signal or f"exit code {ended.exit_code}"
            self._view.say(f"{ended.role} ended ({ended.reason}, {how}): {ended.detail}")

    def _look(self) -> None:
        """Read from the database how the sources stand. While it is away, what was seen last stays."""
        sources = self._sources()
        try:
            with self._engine.connect() as connection:
                seen = {standing.source: standing for standing in read_standings(connection, sources)}
                refills = read_refills(connection)
        except sa.exc.SQLAlchemyError as error:
            if not is_transient(error):
                raise ServiceError(f"the database can't be read: {error}") from error
            log.warning("database away", error=str(error)[:200])
            return
        if (seen, refills) != (self._standings, self._refills):
            self._moved_at = time.monotonic()
            self._standings, self._refills = seen, refills

    def _show(self) -> None:
        self._observer.observe(self._seen())
        reading = list(self._progress.values())
        known = [self._standings[source] for source in self._sources() if source in self._standings]
        shown = self._reader.shown(reading, known) if self._reader.shown else self._log_stages(reading, known)
        self._view.show(shown)

    def _log_stages(self, reading: Sequence[Progress], known: Sequence[SourceStanding]) -> list[Stage]:
        lines: dict[str, int] = {}
        for progress in reading:
            lines[progress.source] = max(lines.get(progress.source, 0), progress.events + progress.dead)
        total = sum(lines.values())
        of_stage: dict[str, list[StageStanding]] = {}
        for stage in (stage for standing in known for stage in standing.stages):
            of_stage.setdefault(stage.stage, []).append(stage)
        persisted = sum(min(s.observed, s.claimed or s.observed) for s in of_stage.get("persisted", ()))
        files = max(len(self._sources()), 1)
        return [
            Stage("read", sum(p.bytes_read for p in reading), sum(p.size for p in reading), self._reader.unit),
            Stage("persisted", min(persisted, total), total, "lines"),
            *(
                Stage(name, sum(stage.verdict is not None for stage in of_stage.get(name, ())), files, "sources")
                for name in ("aggregated", "derived", "verified")
            ),
        ]

    def _mind_stall(self) -> None:
        now = time.monotonic()
        still = now - self._moved_at
        if still > MEND_SECONDS and now - self._mended_at > MEND_SECONDS:
            self._mended_at = now
            started = stack.up(self._asked).started
            if started:
                self._view.say(f"started again: {', '.join(started)}")
        if still > WARN_SECONDS and now - self._warned_at > WARN_SECONDS:
            self._warned_at = now
            self._view.say(f"nothing has moved for {still:.0f} s; waiting for: {self._awaited()}")
        if still > self._settings.stall_seconds:
            self._problems.append(f"stalled: nothing has moved for {still:.0f} s; waiting for: {self._awaited()}")

    def _awaited(self) -> str:
        if not self._reader_done:
            return "the reader"
        waiting = [
            f"{standing.name}: {standing.trouble}" for standing in self._standings.values() if not standing.succeeded
        ]
        waiting += [f"{sink} to be filled again: {refill}" for sink, refill in self._refills.items()]
        return "; ".join([*waiting, *self._unknown()]) or "the end"

    def _is_over(self, supervisor: Supervisor) -> bool:
        for role, ended in supervisor.failed().items():
            if ended.exit_code == PARTIAL_CODE:
                continue
            self._problems.append(f"{role}: {ended.detail}; {last_words(ended)} (log: {self._logs / role}.log)")
        if self._problems:
            return True
        verdicts = self._reader_done and all(self._is_final(outcome) for outcome in self._outcomes.values())
        return verdicts and not self._refills

    def _is_final(self, outcome: FileOutcome) -> bool:
        if not outcome.source:
            return True
        standing = self._standings.get(outcome.source)
        if standing is None or standing.attempt < outcome.attempt:
            return False
        return standing.is_final(claimed=outcome.claimed)

    def _sources(self) -> list[str]:
        named = [progress.source for progress in self._progress.values()]
        named += [outcome.source for outcome in self._outcomes.values()]
        return [source for source in dict.fromkeys(named) if source]

    def _unknown(self) -> list[str]:
        """What could not be read and shows in no verdict, such as a damaged file whose content came whole elsewhere."""
        return [
            f"{outcome.path}: {outcome.reason}"
            for outcome in self._outcomes.values()
            if outcome.state == "failed"
            and ((standing := self._standings.get(outcome.source)) is None or standing.succeeded)
        ]
