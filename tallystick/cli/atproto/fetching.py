"""One backfill: what hosts list is fetched, and it is over once every repository that was named has its verdicts.

1. The listers end: what they asked for is in `atproto.fetches`.
2. The fetchers have passed it, the stages agent what these have told, and the sink of sources what the agent has.
3. No repository of this backfill waits for a verdict any more.

What is looked at in the database are counts, as there may be millions of repositories.
"""

import time
from collections.abc import Callable
from datetime import datetime

import msgspec
import sqlalchemy as sa

from sinks.schema import source_stages
from sinks.standing import read_time
from tallystick.cli.atproto.asking import Asked
from tallystick.cli.atproto.counting import Counts, Trouble, Wanted, read_counts, read_missing, read_troubles
from tallystick.cli.atproto.passing import Course, Hop, sink_passed
from tallystick.cli.atproto.planning import plan_of
from tallystick.cli.progress import Stage, View
from tallystick.cli.service import Service
from tallystick.contracts.atproto import FETCHES, LISTING_KIND, repository_source_id, stream_source_id
from tallystick.contracts.topics import SOURCE_STAGES, STAGES
from tallystick.database.engine import make_engine
from tallystick.database.errors import is_transient
from tallystick.errors import ServiceError
from tallystick.kafka.groups import Group
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.exits import Exit, ExitReason, last_words
from tallystick.supervision.restarting import PARTIAL_CODE
from tallystick.supervision.supervisor import Supervisor

LOOK_SECONDS = 1.0
LOOK_SHARE = 0.05
"""Counting may take this share of the time: what many repositories make slow is done less often."""
WARN_SECONDS = 60.0

_FOR_EVER = 2**63 - 1

log = get_logger(__name__)


class BackfillResult(msgspec.Struct):
    """What came of a backfill. `problems` show in no verdict; of what did not succeed `troubles` are the first."""

    counts: Counts
    troubles: list[Trouble]
    problems: list[str]
    seconds: float
    interrupted: bool = False
    judged: bool = True
    """Whether verdicts were waited for."""

    @property
    def succeeded(self) -> bool:
        """Whether every repository that was named has succeeded."""
        bad = self.problems or self.interrupted or self.counts.failed or self.counts.mismatch
        return not bad and (not self.judged or not self.counts.pending)


class Listed(msgspec.Struct):
    """What is known of one list: how many entries it has so far, and how it ended, empty while it hasn't."""

    repositories: int = 0
    state: str = ""
    reason: str = ""
    trouble: str = ""


class _Word(msgspec.Struct):
    host: str = ""
    source: str = ""
    attempt: int = 0
    repositories: int = 0
    trouble: str = ""
    state: str = ""
    reason: str = ""
    did: str = ""


class _Said(msgspec.Struct):
    progress: _Word | None = None
    outcome: _Word | None = None


class Listening:
    """Hears the listers of a backfill, and tells of ends that nobody asked for."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.lists: dict[str, Listed] = {}

    def line(self, role: str, text: str) -> None:
        """See `Hearer`."""
        try:
            said = msgspec.json.decode(text, type=_Said)
        except msgspec.MsgspecError as error:
            log.warning("a role says what nobody understands", said_by=role, error=str(error))
            return
        if (word := said.progress) is not None:
            known = self.lists.setdefault(word.host, Listed())
            known.repositories = max(known.repositories, word.repositories)
            if word.trouble and word.trouble != known.trouble:
                self._view.say(f"{word.host} is waited for: {word.trouble}")
            known.trouble = word.trouble
        if (word := said.outcome) is not None and not word.did:
            known = self.lists.setdefault(word.host, Listed())
            known.state, known.reason = word.state, word.reason

    def ended(self, ended: Exit) -> None:
        """See `Hearer`."""
        if ended.reason not in {ExitReason.FINISHED, ExitReason.CANCELLED} and ended.exit_code != PARTIAL_CODE:
            how = ended.signal or f"exit code {ended.exit_code}"
            self._view.say(f"{ended.role} ended ({ended.reason}, {how}): {ended.detail}")


class Backfill:
    """Runs one backfill in this process's supervisor. `run` may be called once."""

    def __init__(self, asked_settings: Settings, settings: Settings, asked: Asked, *, view: View) -> None:
        """`settings` are `asked_settings` with the servers that they lead to."""
        self._settings, self._asked, self._view = settings, asked, view
        self._plan = plan_of(settings, asked, follows=False)
        self._listening = Listening(view)
        self._service = Service(asked_settings, self._plan, self._listening, settings=settings)
        self._engine = make_engine(settings)
        self._since, self._until = _milliseconds(), _FOR_EVER
        self._counts, self._counted_for = Counts(), 0.0
        self._look_at = self._moved_at = self._warned_at = time.monotonic()
        self._groups: list[Group] = []
        self._course: Course | None = None
        self._through = False
        self._problems: list[str] = []

    def run(self, stop: Callable[[], bool]) -> BackfillResult:
        """Fetch, and return once every repository has its verdicts, or once it is known that it can't be had."""
        started = time.monotonic()
        try:
            ending = self._service.run(stop, over=self._over)
            interrupted = stop() and not self._is_over
            if ending:
                words = last_words(ending.exit)
                log_file = self._settings.home / "logs" / f"{ending.role}.log"
                self._problems.append(f"{ending.role}: {ending.exit.detail}; {words} (log: {log_file})")
            troubles = self._read_end()
        finally:
            for group in self._groups:
                group.close()
            self._engine.dispose()
        lists = self._listening.lists.items()
        self._problems += [f"{host}: its list: {known.reason}" for host, known in lists if known.state == "failed"]
        return BackfillResult(
            counts=self._counts,
            troubles=troubles,
            problems=self._problems,
            seconds=time.monotonic() - started,
            interrupted=interrupted,
            judged=not self._asked.ingest_only,
        )

    @property
    def _is_over(self) -> bool:
        return bool(self._problems) or (self._through and (self._asked.ingest_only or not self._counts.pending))

    def _over(self, supervisor: Supervisor) -> bool:
        if time.monotonic() < self._look_at:
            return False
        listing = any(spec.name in supervisor.active() for spec in self._plan.readers)
        try:
            if not listing and not self._through:
                self._course = self._course or Course(self._hops())
                before, through = self._course.waits_for, self._course.look()
                if before != self._course.waits_for:
                    log.info("passed", by=before, waits_for=self._course.waits_for)
                if through:
                    # What others ask for from now on is no business of this backfill.
                    self._through, self._until = True, _milliseconds()
            if not self._asked.ingest_only:
                self._count()
        except (ServiceError, sa.exc.SQLAlchemyError) as error:
            if isinstance(error, sa.exc.SQLAlchemyError) and not is_transient(error):
                raise ServiceError(f"the database can't be read: {error}") from error
            log.warning("it can't be seen how far it is", error=str(error)[:200])
        self._view.show(self._stages(listing=listing))
        self._mind_stall(listing=listing)
        self._look_at = time.monotonic() + max(LOOK_SECONDS, self._counted_for / LOOK_SHARE)
        return self._is_over

    def _hops(self) -> list[Hop]:
        """Return whom repositories have to pass before the database knows of each that it was fetched, or was not."""
        from producers.atproto.backfill import fetcher  # it takes aiohttp with it

        fetchers = Group(self._settings, fetcher.GROUP, FETCHES)
        self._groups = [fetchers]
        hops = [Hop("the fetchers", fetchers.ends, fetchers.passed)]
        if not self._asked.ingest_only:
            from streams.app import GROUP  # it takes Faust with it

            agents = Group(self._settings, GROUP, STAGES)
            states = Group(self._settings, "sources", SOURCE_STAGES)
            self._groups += [agents, states]
            topic = self._settings.kafka.topic(SOURCE_STAGES)
            hops.append(Hop("the stages agent", agents.ends, agents.passed))
            hops.append(Hop("the sink of sources", states.ends, lambda: sink_passed(self._engine, "sources", topic)))
        return hops

    def _count(self) -> None:
        began = time.monotonic()
        with self._engine.connect() as connection:
            counts = read_counts(connection, self._wanted(connection))
        self._counted_for = time.monotonic() - began
        if counts != self._counts:
            self._counts, self._moved_at = counts, time.monotonic()

    def _wanted(self, connection: sa.Connection) -> Wanted:
        """Return which repositories this backfill is about: those fetched since it began, in an earlier run maybe."""
        if self._asked.dids and self._through:
            return Wanted(sources=tuple(repository_source_id(did) for did in self._asked.dids))
        begun = [self._since]
        for host in self._asked.hosts if not self._asked.dids else ():
            query = sa.select(source_stages.c.started_at).where(
                source_stages.c.source_id == stream_source_id(LISTING_KIND, host.name)
            )
            if at := read_time(connection.scalar(query)):
                begun.append(int(datetime.fromisoformat(at).timestamp() * 1000))
        return Wanted(since=min(begun), until=self._until)

    def _stages(self, *, listing: bool) -> list[Stage]:
        names = [spec.name for spec in self._plan.readers]
        ended = sum(1 for known in self._listening.lists.values() if known.state)
        lists = len(names) if not listing else min(ended, len(names))
        stages = [Stage("listed", lists, len(names), "lists")]
        if self._asked.ingest_only:
            return stages
        named = len(self._asked.dids) or sum(known.repositories for known in self._listening.lists.values())
        total = self._counts.repositories if self._through else max(named, self._counts.repositories)
        judged = self._counts.judged
        return stages + [Stage(name, min(number, total), total, "repositories") for name, number in judged.items()]

    def _mind_stall(self, *, listing: bool) -> None:
        """Say what is waited for; give up only where it is this machine that does nothing: hosts may take long."""
        now = time.monotonic()
        still = now - self._moved_at
        if still > WARN_SECONDS and now - self._warned_at > WARN_SECONDS:
            self._warned_at = now
            self._view.say(f"nothing has moved for {still:.0f} s; waiting for {self._waits_for(listing=listing)}")
        if self._through and still > self._settings.stall_seconds:
            waiting = self._waits_for(listing=listing)
            self._problems.append(f"stalled: nothing has moved for {still:.0f} s; waiting for {waiting}")

    def _waits_for(self, *, listing: bool) -> str:
        if listing:
            return "the lists of hosts"
        if not self._through and self._course:
            return self._course.waits_for
        return f"verdicts on {self._counts.pending:,} repositories"

    def _read_end(self) -> list[Trouble]:
        """Look at the database once more, and return what did not succeed."""
        if self._asked.ingest_only:
            return []
        try:
            self._count()
            with self._engine.connect() as connection:
                wanted = self._wanted(connection)
                troubles = read_troubles(connection, wanted)
                if wanted.sources is not None:
                    missing = set(read_missing(connection, wanted.sources))
                    self._problems += [
                        f"{did}: it was not fetched; see the fetcher's log"
                        for did in self._asked.dids
                        if repository_source_id(did) in missing
                    ]
        except sa.exc.SQLAlchemyError as error:
            self._problems.append(f"the database can't be read: {' '.join(str(error).split())[:200]}")
            return []
        return troubles


def _milliseconds() -> int:
    """Return the present time as attempts at repositories have it."""
    return time.time_ns() // 1_000_000
