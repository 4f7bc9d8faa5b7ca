"""How tasks stand and how they ended last, for people and programs: a part of `tally status`."""

from collections.abc import Callable, Sequence

import msgspec
from rich.table import Table

from tallystick.cli.terminal import safe
from tallystick.contracts.tasks import TaskExit
from tallystick.supervision.identity import ProcessIdentity, is_gone
from tallystick.supervision.standing import Condition, TaskStanding

MOST_SHOWN_CHARS = 200
_LOOKED_AFTER = {Condition.RUNNING, Condition.RESTARTING}


def as_it_is(standing: TaskStanding, gone: Callable[[ProcessIdentity], bool] = is_gone) -> TaskStanding:
    """Return how a task stands now: without its supervisor it is lost, which its file says later."""
    if standing.condition in _LOOKED_AFTER and gone(standing.supervisor):
        return msgspec.structs.replace(standing, condition=Condition.LOST)
    return standing


def standing_as_dict(standing: TaskStanding) -> dict[str, object]:
    """Return a task as JSON shows it."""
    last = standing.last
    return {
        "task": standing.task,
        "condition": str(standing.condition),
        "running": standing.condition is Condition.RUNNING,
        "since": standing.since,
        "host": standing.process.host,
        "pid": standing.process.pid,
        "restarts": standing.restarts,
        "last_exit": None if last is None else {name: getattr(last, name) for name in last.__struct_fields__},
    }


def tasks_table(standings: Sequence[TaskStanding]) -> Table:
    """Return tasks as a table, a row each, with their last exits."""
    table = Table(box=None, pad_edge=False)
    table.add_column("task", overflow="fold")
    for name in ("state", "since", "last exit", "reason", "code"):
        table.add_column(name)
    table.add_column("ran", justify="right")
    for name in ("error", "then"):
        table.add_column(name, overflow="fold")
    for standing in standings:
        table.add_row(safe(standing.task), str(standing.condition), _time(standing.since), *_cells(standing.last))
    return table


def _cells(last: TaskExit | None) -> tuple[str, ...]:
    if last is None:
        return ("-",) * 6
    code = last.signal or ("-" if last.exit_code is None else str(last.exit_code))
    ran = f"{last.ran_seconds:,.1f} s"
    return (_time(last.at), safe(last.reason), safe(code), ran, _short(last.error), _short(last.next))


def _short(text: str) -> str:
    shown = safe(text)
    return (shown if len(shown) <= MOST_SHOWN_CHARS else f"{shown[: MOST_SHOWN_CHARS - 1]}…") or "-"


def _time(canonical: str) -> str:
    return f"{canonical[:10]} {canonical[11:19]}Z"
