"""The media worker: carries out the commands of verdicts, each stage in a process of its own, and claims for it.

1. Take one command from `stage.commands`; looks, and those for other kinds and databases, are passed over.
2. Take the lease of the medium, with a fencing token, and record the run in `media.runs`.
3. Start the stage's process and wait for it. One that says nothing new for too long is killed.
4. With exit code 0 or 3 and a claim, send the claim; else say that the stage has failed, unless another try may help:
   its process was killed, or hung. Once Kafka has that, record how the run ended.
5. Commit the command's offset. A crash before it repeats the work, which finds what is done already.
"""

import os
import platform
from collections import deque
from collections.abc import Callable

import msgspec
import sqlalchemy as sa
from confluent_kafka import Consumer, KafkaException, Message

from producers.claims import Attempt
from producers.media.claiming import StageClaim
from sinks.media import leases
from sinks.media.reading import is_settled, read_medium
from sinks.roles import find_place
from tallystick.cli.media.stage_process import LEASE, Argv, run_process, stage_argv, stage_spec
from tallystick.contracts import media as contract
from tallystick.contracts import stages, timestamps
from tallystick.contracts.stages import Command
from tallystick.contracts.topics import STAGE_COMMANDS
from tallystick.database.engine import make_engine, snapshot
from tallystick.database.errors import is_transient
from tallystick.errors import LeaseHeldError
from tallystick.kafka.consuming import close, make_consumer, records
from tallystick.kafka.pausing import paused
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.retry import retry
from tallystick.settings import Settings
from tallystick.slots import member_name
from tallystick.supervision.child import own_task
from tallystick.supervision.records import Records
from tallystick.supervision.standing import Watcher

log = get_logger(__name__)

LOOK_SECONDS = 0.2
_FAREWELL_SECONDS = 5.0
_AGAIN_SECONDS = 2.0
"""So long, times the number of tries, what a stage stumbled over may take to come back."""
_KINDS = frozenset(form.kind for form in contract.Form)


class _Stopped(Exception):
    """The worker was told to stop before the command was carried out."""


class Worker:
    """Carries out commands until it is told to stop. Owns its consumer and its publisher."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        task: str,
        watcher: Watcher,
        projection: str,
        engine: sa.Engine,
        consumer: Consumer,
        publisher: Publisher,
        argv: Argv = stage_argv,
    ) -> None:
        """`name` tells this worker from others of this host; it names the log of the processes that it starts.

        `task` is what this worker is called in the records of its ends; those of its processes begin with it. `watcher`
        keeps them.
        """
        self._settings, self._name, self._projection = settings, name, projection
        self._task, self._watcher = task, watcher
        self._engine, self._consumer, self._publisher, self._argv = engine, consumer, publisher, argv
        self._holder = f"{platform.node()}:{os.getpid()}"
        self._topic = settings.kafka.topic(STAGE_COMMANDS)
        self._runs = settings.kafka.topic(contract.RUNS)
        self._waiting: deque[Message] = deque()

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop` returns True. Raises what can't be mended by waiting."""
        self._consumer.subscribe([self._topic])
        try:
            while not stop():
                self._watcher.look()
                self._waiting += [] if self._waiting else records(self._consumer, most=1, seconds=LOOK_SECONDS)
                if self._waiting:
                    self._take(self._waiting.popleft(), stop)
        except _Stopped:
            return
        finally:
            close(self._consumer)

    def _take(self, message: Message, stop: Callable[[], bool]) -> None:
        command = _read(message)
        if command is not None and command.projection == self._projection:
            self._carry_out(command, stop)
        try:
            self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            log.warning("a command will come again", offset=message.offset(), error=str(error))

    def _carry_out(self, command: Command, stop: Callable[[], bool]) -> None:
        with paused(self._consumer) as poll:

            def rest(seconds: float) -> None:
                self._waiting += poll(seconds)
                if stop():
                    raise _Stopped

            if self._outdated(command, rest):
                return
            for tries in range(1, self._settings.media.stage_tries + 1):
                run = self._take_lease(command, rest)
                try:
                    if self._settled(command, rest) or self._try(command, run, rest, tries=tries):
                        return
                finally:
                    self._release(command, run)
                rest(_AGAIN_SECONDS * tries)

    def _settled(self, command: Command, rest: Callable[[float], None]) -> bool:
        """Return whether another worker has carried out the command, as it may have while this one waited."""

        def look() -> bool:
            with snapshot(self._engine) as connection:
                return is_settled(connection, command.source, command.stage, attempt=command.attempt)

        return retry(look, what="look for runs", on=is_transient, sleep=rest)

    def _outdated(self, command: Command, rest: Callable[[float], None]) -> bool:
        """Wait until the database knows of the command's attempt; return whether it knows of a later one."""

        def look() -> contract.Medium | None:
            with snapshot(self._engine) as connection:
                return read_medium(connection, command.source)

        while True:
            medium = retry(look, what="read the medium", on=is_transient, sleep=rest)
            if medium is not None and medium.attempt >= command.attempt:
                return medium.attempt > command.attempt
            rest(LOOK_SECONDS)

    def _try(self, command: Command, run: int, rest: Callable[[float], None], *, tries: int) -> bool:
        """Run the stage's process once, say what came of it, and return whether that is the last word."""
        attempt = Attempt(
            self._settings,
            self._publisher,
            source=command.source,
            kind=command.kind,
            name=command.name,
            stage=command.stage,
            number=command.attempt,
            projection=self._projection,
            run=run,
        )
        began = contract.Run(
            medium=command.source,
            run=run,
            stage=command.stage,
            attempt=command.attempt,
            worker=self._holder,
            started_at=timestamps.now(),
        )
        attempt.start()
        self._record(began)

        def mind() -> None:
            rest(0.0)
            attempt.beat()
            self._publisher.poll()

        spec = stage_spec(self._name, self._argv(command, run), task=f"{self._task}/{command.stage}")
        tries_left = self._settings.media.stage_tries - tries
        try:
            ended = run_process(self._settings, spec, mind, watcher=self._watcher, tries_left=tries_left)
        except _Stopped:
            self._record(msgspec.structs.replace(began, ended_at=timestamps.now(), detail="the worker was stopped"))
            self._publisher.flush(_FAREWELL_SECONDS)
            raise
        claim = ended.claim or StageClaim({})
        final = ended.succeeded or not ended.may_help or not tries_left
        if ended.succeeded:
            attempt.claim(counts=claim.counts, ends=claim.ends, digest=claim.digest)
        elif final:
            often = f" ({tries} tries)" if tries > 1 else ""
            attempt.fail(f"{ended.reason}{often}", exit_code=ended.code)
        # Who sees that the run has ended takes its claim for said.
        self._publisher.flush()
        self._record(
            msgspec.structs.replace(
                began,
                ended_at=timestamps.now(),
                seconds=round(ended.seconds, 3),
                exit_code=ended.code,
                detail=ended.reason,
                counts=claim.counts,
                evidence=claim.evidence,
            )
        )
        self._publisher.flush()
        return final

    def _take_lease(self, command: Command, rest: Callable[[float], None]) -> int:
        seconds = self._settings.media.lease_seconds
        while True:
            try:
                return retry(
                    lambda: leases.take(self._engine, command.source, LEASE, holder=self._holder, seconds=seconds),
                    what="take the lease",
                    on=is_transient,
                    sleep=rest,
                )
            except LeaseHeldError as error:
                log.info("another worker has the medium", medium=command.source, error=str(error))
                rest(1.0)

    def _release(self, command: Command, run: int) -> None:
        try:
            leases.release(self._engine, command.source, LEASE, run=run)
        except sa.exc.SQLAlchemyError as error:
            if not is_transient(error):
                raise
            log.warning("a lease is left to expire", medium=command.source, error=str(error)[:200])

    def _record(self, run: contract.Run) -> None:
        self._publisher.send(self._runs, key=run.medium.encode(), value=contract.encode(run))


def run_worker(settings: Settings, stop: Callable[[], bool]) -> None:
    """Run a worker until `stop` returns True. Raises ConfigurationError where the database is not ready for it."""
    engine = make_engine(settings)
    try:
        place = find_place(settings, engine, stop)
        group = f"media-worker-{place.projection}"
        with member_name(settings.home / "slots", settings.kafka.group(group)) as member, Records(settings) as records:
            name = member.rpartition("-")[2]
            Worker(
                settings,
                name=name,
                task=own_task(f"media-worker-{name}"),
                watcher=records,
                projection=place.projection,
                engine=engine,
                consumer=make_consumer(settings, client_id="media-worker", group=group, member=member),
                publisher=Publisher(settings, client_id="media-worker", linger_ms=5),
            ).run(stop)
    finally:
        engine.dispose()


def _read(message: Message) -> Command | None:
    """Return the command, None where it is a look, of another kind, or none at all."""
    try:
        command = stages.decode_command(message.value() or b"")
    except msgspec.DecodeError as error:
        log.warning("not a command", partition=message.partition(), offset=message.offset(), error=str(error))
        return None
    return command if command.kind in _KINDS and not command.look else None
