"""The worker behind the stage `verified`, and behind all stages that are looked at: it reports what it finds.

1. Take a command from `stage.commands`; those for other databases, and work for others, are passed over.
2. Wait until no table that is counted is being filled again (`sinks/replaying.py`).
3. Recount. What differs is looked at again until it agrees, or until nothing has changed for
   `verifier.settle_seconds`: events of other sources, and dead letters, may be on their way.
   Or look at what was claimed (`sinks/inspections.py`), where that is commanded.
4. Send the report.
5. Once Kafka has the reports of all commands that are done, commit the offsets of these: when there is nothing else to
   do, and every second. A crash before it repeats the work, which changes nothing.

A look at something small takes milliseconds, and there may be millions: so nothing is waited for between two looks,
and the consumer, which is paused while there is something to wait for, is left alone where there isn't.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

import msgspec
import sqlalchemy as sa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from sinks.announcing import Announcer
from sinks.inspections import INSPECTIONS, NOBODY
from sinks.looking import Inspection, Look, Question, look
from sinks.loop import Place
from sinks.recount import COUNTED, Events, Recount, Refused, Session, look_again, look_at_refused, recount
from sinks.refills import read_refills
from tallystick.contracts import stages
from tallystick.contracts.stages import Command, Reported, Started
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import now
from tallystick.contracts.topics import STAGE_COMMANDS
from tallystick.database.engine import snapshot
from tallystick.database.errors import is_transient
from tallystick.kafka.consuming import close, records
from tallystick.kafka.pausing import paused
from tallystick.logs import get_logger
from tallystick.retry import retry
from tallystick.settings import Settings

log = get_logger(__name__)

T = TypeVar("T")
STAGE = "verified"
_LOOK_SECONDS = 0.5
_COMMIT_SECONDS = 1.0
_AT_ONCE = 100
"""So many commands are taken at a time, if they are there."""


class _Stopped(Exception):
    """The verifier was told to stop before its report was sent; the command is repeated by the next one."""


class Verifier:
    """Carries out the commands of one database, one after the other. Owns its consumer."""

    def __init__(
        self, settings: Settings, *, place: Place, engine: sa.Engine, consumer: Consumer, announcer: Announcer
    ) -> None:
        self._settings, self._place, self._engine = settings, place, engine
        self._consumer, self._announcer = consumer, announcer
        self._waiting: deque[Message] = deque()
        self._done: dict[int, int] = {}
        self._committed_at = time.monotonic()

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop` returns True. Raises what can't be mended by waiting."""
        self._consumer.subscribe([self._settings.kafka.topic(STAGE_COMMANDS)])
        try:
            with suppress(_Stopped):
                while not stop():
                    self._turn(stop)
            self._commit(stop)
        finally:
            close(self._consumer)

    def _turn(self, stop: Callable[[], bool]) -> None:
        if not self._waiting:
            self._waiting += records(self._consumer, most=_AT_ONCE, seconds=0.0)
        if not self._waiting or time.monotonic() - self._committed_at >= _COMMIT_SECONDS:
            self._commit(stop)
        if not self._waiting:
            self._waiting += records(self._consumer, most=1, seconds=0.2)
        if self._waiting:
            self._carry_out(self._waiting.popleft(), stop)

    def _carry_out(self, message: Message, stop: Callable[[], bool]) -> None:
        command = _read(message)
        if command is not None and command.projection == self._place.projection:
            if command.look:
                self._announcer.observe([self._answer_by_look(command, stop)])
            elif command.stage == STAGE:
                self._announcer.observe([self._answer_by_recount(command, stop)])
        self._done[message.partition() or 0] = (message.offset() or 0) + 1

    def _commit(self, stop: Callable[[], bool]) -> None:
        """Commit what is done, once Kafka has what was reported of it. What can't be committed comes again."""
        self._committed_at = time.monotonic()
        if not self._done or not self._announcer.settle(stop):
            return
        topic = self._settings.kafka.topic(STAGE_COMMANDS)
        done = [TopicPartition(topic, partition, offset) for partition, offset in self._done.items()]
        self._done = {}
        try:
            self._consumer.commit(offsets=done, asynchronous=False)
        except KafkaException as error:
            log.warning("commands will come again", error=str(error))

    def _answer_by_recount(self, command: Command, stop: Callable[[], bool]) -> Reported:
        started = time.monotonic()
        result = self._settled_recount(command.source, stop)
        seconds = round(time.monotonic() - started, 3)
        log.info("recounted", source=command.source, found=result.found, seconds=seconds)
        return report(command, result)

    def _answer_by_look(self, command: Command, stop: Callable[[], bool]) -> Reported:
        started = time.monotonic()
        inspection = INSPECTIONS.get(command.kind, NOBODY)
        polled = told = started
        with self._at_work() as sleep:

            def progress() -> None:
                nonlocal polled, told
                if stop():
                    raise _Stopped
                if time.monotonic() - polled > _LOOK_SECONDS:
                    sleep(0)
                    polled = time.monotonic()
                if time.monotonic() - told > self._settings.reader.heartbeat_seconds:
                    self._announcer.observe([heartbeat(command)])
                    told = time.monotonic()

            self._await_tables(command, inspection, stop, sleep)
            question = Question(
                settings=self._settings,
                engine=self._engine,
                source=command.source,
                stage=command.stage,
                attempt=command.attempt,
                run=command.run,
                progress=progress,
                interruption=_Stopped,
                name=command.name,
            )
            seen = self._patiently("look", lambda: look(question, inspection.looks), stop=stop, sleep=sleep)
        seconds = round(time.monotonic() - started, 3)
        log.info("looked", source=command.source, stage=command.stage, found=seen.found, seconds=seconds)
        return answer_of(command, seen)

    @contextmanager
    def _at_work(self) -> Iterator[Callable[[float], None]]:
        """Yield a function that sleeps some seconds and stays in the group.

        The consumer is paused when it is first called: most commands are done before, and after a pause Kafka is asked
        once more for what librdkafka held already.
        """
        poll: Callable[[float], list[Message]] | None = None
        with ExitStack() as ending:

            def sleep(seconds: float) -> None:
                nonlocal poll
                poll = poll or ending.enter_context(paused(self._consumer))
                self._waiting += poll(seconds)

            yield sleep

    def _await_tables(
        self,
        command: Command,
        inspection: Inspection,
        stop: Callable[[], bool],
        sleep: Callable[[float], None],
    ) -> None:
        """Wait while a table is being filled again that is looked at, and a little for the attempt to be known."""

        def ask(connection: sa.Connection) -> tuple[bool, bool]:
            refilled = not inspection.tables.isdisjoint(read_refills(connection))
            return refilled, inspection.is_known(connection, command.source, command.attempt)

        waits_until: float | None = None
        while True:
            refilled, known = self._ask(ask, stop=stop, sleep=sleep)
            if not refilled:
                waits_until = waits_until or time.monotonic() + self._settings.verifier.settle_seconds
                if known or time.monotonic() >= waits_until:
                    return
            sleep(_LOOK_SECONDS)

    def _settled_recount(self, source: str, stop: Callable[[], bool]) -> Recount:
        with self._at_work() as sleep:

            def ask(question: Callable[[sa.Connection], T]) -> T:
                return self._ask(question, stop=stop, sleep=sleep)

            waits = False
            while (result := ask(lambda connection: self._recount(connection, source))) is None:
                if not waits:
                    log.warning("tables are being filled again, so the recount waits", source=source)
                waits = True
                sleep(_LOOK_SECONDS)
            changed = time.monotonic()
            while not result.is_settled and time.monotonic() - changed < self._settings.verifier.settle_seconds:
                sleep(_LOOK_SECONDS)
                if result.take(*ask(functools.partial(self._again, source=source, sessions=list(result.differing)))):
                    changed = time.monotonic()
        return result

    def _recount(self, connection: sa.Connection, source: str) -> Recount | None:
        """Return what is found, None while a table that is counted is being filled again."""
        if COUNTED & read_refills(connection).keys():
            return None
        return recount(connection, source, cluster=self._place.cluster)

    def _again(
        self, connection: sa.Connection, source: str, sessions: list[Session]
    ) -> tuple[dict[Session, Events], Refused]:
        refused = look_at_refused(connection, source, cluster=self._place.cluster)
        return look_again(connection, sessions), refused

    def _ask(
        self, question: Callable[[sa.Connection], T], *, stop: Callable[[], bool], sleep: Callable[[float], None]
    ) -> T:
        def look() -> T:
            with snapshot(self._engine) as connection:
                return question(connection)

        return self._patiently("recount", look, stop=stop, sleep=sleep)

    def _patiently(
        self, what: str, work: Callable[[], T], *, stop: Callable[[], bool], sleep: Callable[[float], None]
    ) -> T:
        """Return what `work` returns, again and again while the database is away."""
        if stop():
            raise _Stopped
        try:
            longest = self._settings.sinks.retry_max_seconds
            return retry(work, what=what, on=is_transient, longest_wait=longest, stop=stop, sleep=sleep)
        except Exception as error:
            if is_transient(error):
                raise _Stopped from error
            raise


def report(command: Command, result: Recount) -> Reported:
    """Return the answer to `command`."""
    return Reported(
        source=command.source,
        stage=command.stage,
        attempt=command.attempt,
        projection=command.projection,
        at=now(),
        expected=result.expected,
        found=result.found,
        detail=result.detail,
    )


def heartbeat(command: Command) -> Started:
    """Return the word that somebody is at work on `command`, which may take hours."""
    return Started(
        source=command.source,
        kind=command.kind,
        name=command.name,
        stage=command.stage,
        attempt=command.attempt,
        at=now(),
        projection=command.projection,
    )


def answer_of(command: Command, look: Look) -> Reported:
    """Return the answer to the `command` to look: what was found, for the claim to be compared with."""
    return Reported(
        source=command.source,
        stage=command.stage,
        attempt=command.attempt,
        projection=command.projection,
        at=now(),
        expected={},
        found=look.found,
        detail=printable(look.detail),
        digest=look.digest,
        run=command.run,
    )


def _read(message: Message) -> Command | None:
    try:
        return stages.decode_command(message.value() or b"")
    except msgspec.DecodeError as error:
        log.warning("not a command", partition=message.partition(), offset=message.offset(), error=str(error))
        return None
