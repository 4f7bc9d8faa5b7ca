"""`tally run all`: every role under one supervisor, for as long as nobody stops it."""

import time
from collections.abc import Callable, Sequence

import msgspec

from producers.progress import Progress
from tallystick.cli.deployment import (
    ReaderSays,
    last_words,
    prepare,
    reader_spec,
    role_specs,
    tell_of_dead_reader,
)
from tallystick.cli.warm import nursery
from tallystick.contracts import cowrie
from tallystick.database.engine import make_engine
from tallystick.local import stack
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.exits import Exit, ExitReason
from tallystick.supervision.restarting import CONFIGURATION_CODE
from tallystick.supervision.supervisor import Supervisor

log = get_logger(__name__)

LOOK_SECONDS = 0.25
MEND_SECONDS = 10.0
"""How often the local stack, where it is used, is looked after."""


def serve(settings: Settings, paths: Sequence[str], *, sensor: str | None, stop: Callable[[], bool]) -> int | None:
    """Run all roles until `stop` returns True; then None. Returns the exit code of a role that can't be helped.

    Raises ServiceError where Kafka or the database can't be had at the start; later, their return is waited for.
    """
    return Service(settings, paths, sensor=sensor).run(stop)


class Service:
    """The roles of one machine, and what its supervisor does when one of them ends. `run` may be called once."""

    def __init__(self, settings: Settings, paths: Sequence[str], *, sensor: str | None) -> None:
        self._asked, self._paths, self._sensor = settings, paths, sensor
        self._settings = stack.resolve(settings)
        self._reading: dict[str, Progress] = {}
        self._mended_at = time.monotonic()

    def run(self, stop: Callable[[], bool]) -> int | None:
        """See `serve`."""
        engine = make_engine(self._settings)
        prepare(self._settings, engine)
        engine.dispose()
        reader = reader_spec(self._paths, sensor=self._sensor, options=("--follow",), one_shot=False, max_restarts=None)
        logs = self._settings.home / "logs"
        with Supervisor(on_exit=self._on_exit, on_line=self._on_line, log_dir=logs, nursery=nursery()) as supervisor:
            for spec in role_specs(self._settings, reader, yields={}):
                supervisor.start(spec)
            while not stop():
                supervisor.poll(LOOK_SECONDS)
                for role, ended in supervisor.failed().items():
                    log.error("role can't be helped", failed=role, error=last_words(ended), detail=ended.detail)
                    return ended.exit_code or CONFIGURATION_CODE
                self._mend()
        return None

    def _on_line(self, role: str, line: str) -> None:
        if role != "reader":
            return
        said = msgspec.json.decode(line, type=ReaderSays)
        if said.progress is not None:
            self._reading[said.progress.source] = said.progress
        if said.outcome is not None:
            self._reading.pop(said.outcome.source, None)

    def _on_exit(self, ended: Exit) -> None:
        if ended.role == "reader" and ended.reason is not ExitReason.CANCELLED:
            tell_of_dead_reader(self._settings, cowrie.KIND, self._reading.values(), ended)
            self._reading.clear()

    def _mend(self) -> None:
        """Start a local server again that has died; configured ones are left alone."""
        if time.monotonic() - self._mended_at < MEND_SECONDS:
            return
        if started := stack.up(self._asked).started:
            log.warning("started again", servers=started)
        self._mended_at = time.monotonic()
