"""What `tally run all` runs: every role that waits for what comes of logs, and a reader that follows them."""

from collections.abc import Callable, Sequence

import msgspec

from producers.progress import Progress
from tallystick.cli.deployment import LOG_ROLES, ReaderSays, reader_spec, role_specs, tell_of_dead_reader
from tallystick.cli.service import Plan, Service
from tallystick.contracts import cowrie
from tallystick.local import stack
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.exits import Exit, ExitReason

log = get_logger(__name__)


def serve(settings: Settings, paths: Sequence[str], *, sensor: str | None, stop: Callable[[], bool]) -> int | None:
    """Run all roles until `stop` returns True; then None. Returns the exit code of a role that can't be helped.

    Raises ServiceError where Kafka or the database can't be had at the start; later, their return is waited for.
    """
    resolved = stack.resolve(settings)
    reader = reader_spec(paths, sensor=sensor, options=("--follow",), one_shot=False)
    specs = role_specs(resolved, [*LOG_ROLES, reader], service="all", yields={}, max_restarts=None)
    plan = Plan(shared=tuple(specs[:-1]), readers=(specs[-1],))
    ending = Service(settings, plan, _Hearer(resolved), settings=resolved).run(stop)
    return ending.code if ending else None


class _Hearer:
    """Knows what the reader is at, so that it can be said of which sources it is dead."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reading: dict[str, Progress] = {}

    def line(self, role: str, text: str) -> None:
        """See `Hearer`."""
        if role != "reader":
            return
        try:
            said = msgspec.json.decode(text, type=ReaderSays)
        except msgspec.MsgspecError as error:
            log.warning("the reader says what nobody understands", error=str(error))
            return
        if said.progress is not None:
            self._reading[said.progress.source] = said.progress
        if said.outcome is not None:
            self._reading.pop(said.outcome.source, None)

    def ended(self, ended: Exit) -> None:
        """See `Hearer`."""
        if ended.role == "reader" and ended.reason is not ExitReason.CANCELLED:
            tell_of_dead_reader(self._settings, cowrie.KIND, self._reading.values(), ended)
            self._reading.clear()
