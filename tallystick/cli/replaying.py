"""One replay: what it would delete, and filling again what was deleted, with whoever else runs these sinks."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import sqlalchemy as sa
import typer
from rich.table import Table

from sinks.refills import Refill, read_refills
from sinks.replaying import Emptied, empty, plan
from sinks.roles import find_place, help_sink, run_sinks
from tallystick.cli.progress import Stage, View, make_view
from tallystick.cli.terminal import console
from tallystick.database.engine import make_engine, snapshot
from tallystick.database.errors import is_transient, told_plainly
from tallystick.errors import ServiceError
from tallystick.logs import configure, get_logger
from tallystick.retry import retry
from tallystick.settings import Settings
from tallystick.supervision.child import install
from tallystick.supervision.roles import INTERRUPTED_CODE

log = get_logger(__name__)

LOOK_SECONDS = 0.25
EMPTY_SECONDS = 60.0
"""For how long emptying is tried again where others hold the tables."""


class ReplayResult(msgspec.Struct, frozen=True):
    """What came of a replay: the tables as they are then, by whom nothing is missing where it is not `interrupted`."""

    tables: list[Emptied]
    records: int
    seconds: float
    interrupted: bool


class Replay:
    """Empties the tables of some sinks and fills them again. Owns its engine; `run` may be called once."""

    def __init__(self, settings: Settings, sinks: Sequence[str]) -> None:
        self._settings, self._sinks = settings, list(dict.fromkeys(sinks))
        self._engine = make_engine(settings)

    def plan(self) -> list[Emptied]:
        """Return what `run` would delete. Raises ConfigurationError where the database is not ours or not ready."""
        with told_plainly():
            find_place(self._settings, self._engine, lambda: False)
            with snapshot(self._engine) as connection:
                return plan(connection, self._sinks)

    def run(self, view: View, stop: Callable[[], bool]) -> ReplayResult:
        """Empty the tables, and return once all is there again, or once `stop` returns True: others then go on.

        Raises ServiceError where a sink fails, or nothing moves any more.
        """
        started = time.monotonic()
        with told_plainly():
            records = sum(refill.total for refill in self._empty().values())
        self._refill(view, stop)
        with told_plainly(), snapshot(self._engine) as connection:
            behind = self._behind(connection)
            tables = plan(connection, self._sinks)
        self._engine.dispose()
        return ReplayResult(tables, records, time.monotonic() - started, interrupted=bool(behind))

    def _empty(self) -> dict[str, Refill]:
        def work() -> dict[str, Refill]:
            with self._engine.begin() as connection:
                empty(connection, self._sinks)
                return self._behind(connection)

        return retry(work, what="empty the tables", on=is_transient, give_up_after=EMPTY_SECONDS)

    def _refill(self, view: View, stop: Callable[[], bool]) -> None:
        over = threading.Event()

        def ended() -> bool:
            return over.is_set() or stop()

        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(run_sinks, self._settings, self._sinks, ended, run_one=help_sink)
            try:
                self._watch(view, lambda: work.done() or stop())
            finally:
                over.set()
            work.result()

    def _watch(self, view: View, ended: Callable[[], bool]) -> None:
        """Show how far the sinks are until they are where they were."""
        seen: dict[str, Refill] = {}
        moved_at = time.monotonic()
        while not ended():
            if (found := self._look()) is not None:
                if not found:
                    view.show([Stage(sink, seen[sink].total, seen[sink].total, "records") for sink in seen])
                    return
                if found != seen:
                    moved_at = time.monotonic()
                seen = {sink: Refill(refill.total, refill.total) for sink, refill in seen.items()} | found
                view.show([Stage(sink, refill.done, refill.total, "records") for sink, refill in seen.items()])
            still = time.monotonic() - moved_at
            if still > self._settings.stall_seconds:
                raise ServiceError(
                    f"nothing has moved for {still:.0f} s; see `tally status`. What is missing comes as soon as the"
                    f" sinks {', '.join(found or seen)} run again: `tally run sinks {' '.join(found or seen)}`"
                )
            time.sleep(LOOK_SECONDS)

    def _look(self) -> dict[str, Refill] | None:
        try:
            with snapshot(self._engine) as connection:
                return self._behind(connection)
        except sa.exc.SQLAlchemyError as error:
            if not is_transient(error):
                raise ServiceError(f"the database can't be read: {error}") from error
            log.warning("database away", error=str(error)[:200])
            return None

    def _behind(self, connection: sa.Connection) -> dict[str, Refill]:
        found = read_refills(connection)
        return {sink: found[sink] for sink in self._sinks if sink in found}


def print_plan(tables: Sequence[Emptied]) -> None:
    """Print what a replay would delete, and what of it does not come back."""
    console().print(_table(tables))
    for table in tables:
        if table.lost:
            typer.echo(
                f"{table.lost:,} rows of {table.table} hold what a replay may not bring back: {', '.join(table.others)}"
            )


def run_replay(settings: Settings, replay: Replay) -> int:
    """Run `replay`, with its progress on standard output and its log in a file; return the exit code."""
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    stop = install()
    with (folder / "replay.log").open("a") as log_file, make_view(sys.stdout) as view:
        configure(settings, role="replay", stream=log_file)
        result = replay.run(view, stop)
    console().print(_table(result.tables))
    if result.interrupted:
        typer.echo("interrupted: what is missing comes as soon as these sinks run, by whatever command")
        return INTERRUPTED_CODE
    typer.echo(f"{result.records:,} records again in {result.seconds:.1f} s")
    return 0


def _table(tables: Sequence[Emptied]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("sink", "table"):
        table.add_column(name)
    table.add_column("rows", justify="right")
    for emptied in tables:
        table.add_row(emptied.sink, emptied.table, f"{emptied.rows:,}")
    return table
