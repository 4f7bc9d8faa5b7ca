"""The worker behind the stage `verified`: it recounts what a verdict commands it to, and reports both halves.

1. Take one command from `stage.commands`; those for other databases and other stages are passed over.
2. Wait until no table that is counted is being filled again (`sinks/replaying.py`).
3. Recount. What differs is looked at again until it agrees, or until nothing has changed for
   `verifier.settle_seconds`: events of other sources, and dead letters, may be on their way.
4. Send the report and wait for Kafka to have it.
5. Commit the command's offset. A crash before it repeats the work, which changes nothing.
"""

import functools
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import msgspec
import sqlalchemy as sa
from confluent_kafka import Consumer, KafkaException, Message

from sinks.announcing import Announcer
from sinks.loop import Place
from sinks.recount import COUNTED, Events, Recount, Refused, Session, look_again, look_at_refused, recount
from sinks.refills import read_refills
from tallystick.contracts import stages
from tallystick.contracts.stages import Command, Reported
from tallystick.contracts.timestamps import now
from tallystick.contracts.topics import STAGE_COMMANDS
from tallystick.database.engine import snapshot
from tallystick.database.errors import is_transient
from tallystick.kafka.consuming import close, paused, records
from tallystick.logs import get_logger
from tallystick.retry import retry
from tallystick.settings import Settings

log = get_logger(__name__)

T = TypeVar("T")
STAGE = "verified"
_LOOK_SECONDS = 0.5


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

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop` returns True. Raises what can't be mended by waiting."""
        self._consumer.subscribe([self._settings.kafka.topic(STAGE_COMMANDS)])
        try:
            while not stop():
                self._waiting += [] if self._waiting else records(self._consumer, most=1, seconds=0.2)
                if self._waiting:
                    self._carry_out(self._waiting.popleft(), stop)
        except _Stopped:
            return
        finally:
            close(self._consumer)

    def _carry_out(self, message: Message, stop: Callable[[], bool]) -> None:
        command = _read(message)
        if command is not None and command.projection == self._place.projection and command.stage == STAGE:
            started = time.monotonic()
            result = self._settled_recount(command.source, stop)
            seconds = round(time.monotonic() - started, 3)
            log.info("recounted", source=command.source, found=result.found, seconds=seconds)
            self._announcer.observe([report(command, result)])
            if not self._announcer.settle(stop):
                raise _Stopped
        try:
            self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            log.warning("a command will come again", offset=message.offset(), error=str(error))

    def _settled_recount(self, source: str, stop: Callable[[], bool]) -> Recount:
        with paused(self._consumer) as poll:

            def sleep(seconds: float) -> None:
                self._waiting += poll(seconds)

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
        if stop():
            raise _Stopped

        def look() -> T:
            with snapshot(self._engine) as connection:
                return question(connection)

        try:
            longest = self._settings.sinks.retry_max_seconds
            return retry(look, what="recount", on=is_transient, longest_wait=longest, stop=stop, sleep=sleep)
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


def _read(message: Message) -> Command | None:
    try:
        return stages.decode_command(message.value() or b"")
    except msgspec.DecodeError as error:
        log.warning("not a command", partition=message.partition(), offset=message.offset(), error=str(error))
        return None
