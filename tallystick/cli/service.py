"""A service: the roles of one machine under one supervisor, watched, restarted, and told of over HTTP.

`tally run all` and `tally atproto` are services; each says what it runs by a `Plan`, and hears its roles by a `Hearer`.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import msgspec

from tallystick.cli.deployment import prepare
from tallystick.cli.warm import nursery
from tallystick.database.engine import make_engine
from tallystick.local import stack
from tallystick.logs import get_logger
from tallystick.metrics.health import Phase
from tallystick.metrics.monitor import Monitor
from tallystick.settings import MetricsSettings, Settings
from tallystick.supervision.exits import Exit, last_words
from tallystick.supervision.records import Records
from tallystick.supervision.restarting import (
    CONFIGURATION_CODE,
    PARTIAL_CODE,
    SERVICE_POLICY,
    RestartPolicy,
    RoleSpec,
)
from tallystick.supervision.supervisor import Supervisor

log = get_logger(__name__)

LOOK_SECONDS = 0.25
MEND_SECONDS = 10.0
"""How often the local stack, where it is used, is looked after."""


class Plan(msgspec.Struct, frozen=True):
    """What a service runs. Without one of the `shared` roles nothing works; of `readers` some may be given up."""

    shared: tuple[RoleSpec, ...]
    readers: tuple[RoleSpec, ...]
    policy: RestartPolicy = SERVICE_POLICY


class Hearer(Protocol):
    """Hears what roles say, and how they end, in the supervisor's thread."""

    def line(self, role: str, text: str) -> None:
        """A role has written a line that tells no measures."""

    def ended(self, ended: Exit) -> None:
        """A process of a role has ended."""


class Ending(msgspec.Struct, frozen=True):
    """Why a service ends by itself: a role that can't be helped."""

    role: str
    exit: Exit

    @property
    def code(self) -> int:
        """The exit code that tells of it."""
        return self.exit.exit_code or CONFIGURATION_CODE


def hopeless(plan: Plan, failed: Mapping[str, Exit], active: Collection[str]) -> Ending | None:
    """Return why a service can't go on, where it can't: a shared role was given up, or the last of its readers.

    `active` are the roles that run, or will run once more. A one-shot that has told what failed has done its work.
    """
    for spec in plan.shared:
        if spec.name in failed:
            return Ending(spec.name, failed[spec.name])
    readers = [spec.name for spec in plan.readers]
    given_up = [name for name in readers if name in failed and failed[name].exit_code != PARTIAL_CODE]
    if given_up and not any(name in active for name in readers):
        return Ending(given_up[-1], failed[given_up[-1]])
    return None


def with_metrics_port(settings: Settings, port: int | None) -> Settings:
    """Return `settings` with another port for metrics, where one is given."""
    if port is None:
        return settings
    return settings.model_copy(update={"metrics": MetricsSettings(port=port, address=settings.metrics.address)})


class Service:
    """Runs what a plan says. `run` may be called once."""

    def __init__(self, asked: Settings, plan: Plan, hearer: Hearer, *, settings: Settings | None = None) -> None:
        """`asked` are the settings as they were given, `settings` the same with the servers that they lead to."""
        self._asked, self._plan, self._hearer = asked, plan, hearer
        self._settings = settings or stack.resolve(asked)
        self._records = Records(self._settings)
        self.monitor = Monitor(lambda: self._records.board)
        self._paths = {spec.name: spec.path for spec in (*plan.shared, *plan.readers)}
        self._given_up: set[str] = set()
        self._mended_at = time.monotonic()

    def run(
        self, stop: Callable[[], bool], *, over: Callable[[Supervisor], bool] = lambda _supervisor: False
    ) -> Ending | None:
        """Run all roles until `stop` returns True, or `over`, which is asked again and again; then None.

        Returns why not where it can't go on before. Raises ServiceError where Kafka or the database can't be had at
        the start; later, their return is waited for. Raises ConfigurationError where metrics can't be served.
        """
        with self.monitor.served(self._settings):
            engine = make_engine(self._settings)
            prepare(self._settings, engine)
            engine.dispose()
            supervisor = Supervisor(
                on_exit=self._on_exit,
                on_line=self._on_line,
                log_dir=self._settings.home / "logs",
                policy=self._plan.policy,
                watcher=self._records,
                nursery=nursery(),
            )
            with self._records, supervisor:
                try:
                    return self._look_after(supervisor, stop, over)
                finally:
                    self.monitor.phase = Phase.STOPPING

    def _look_after(
        self, supervisor: Supervisor, stop: Callable[[], bool], over: Callable[[Supervisor], bool]
    ) -> Ending | None:
        for spec in (*self._plan.shared, *self._plan.readers):
            supervisor.start(spec)
        self.monitor.phase = Phase.READY
        while not stop():
            supervisor.poll(LOOK_SECONDS)
            failed = supervisor.failed()
            self._tell_of(failed)
            if ending := hopeless(self._plan, failed, supervisor.active()):
                return ending
            if over(supervisor):
                break
            self._mend()
        return None

    def _on_line(self, role: str, line: str) -> None:
        if not self.monitor.measures.take(self._paths[role], line):
            self._hearer.line(role, line)

    def _on_exit(self, ended: Exit) -> None:
        self.monitor.measures.forget(self._paths[ended.role])
        self._hearer.ended(ended)

    def _tell_of(self, failed: Mapping[str, Exit]) -> None:
        for role in failed.keys() - self._given_up:
            self._given_up.add(role)
            ended = failed[role]
            log.error("role can't be helped", failed=role, error=last_words(ended), detail=ended.detail)

    def _mend(self) -> None:
        """Start a local server again that has died; configured ones are left alone."""
        if time.monotonic() - self._mended_at < MEND_SECONDS:
            return
        if started := stack.up(self._asked).started:
            log.warning("started again", servers=started)
        self._mended_at = time.monotonic()
