"""Whether a service is well: pure decisions on how its tasks stand."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import msgspec

from tallystick.contracts.tasks import TaskExit
from tallystick.contracts.timestamps import seconds_between
from tallystick.metrics.measures import Told
from tallystick.supervision.restarting import SERVICE_POLICY
from tallystick.supervision.standing import Condition, TaskStanding

TROUBLE_SECONDS = 300.0
"""A task that has been restarted for longer than this without running steadily is not well."""
LAG_END = "_lag_seconds"
"""How the names of metrics end that tell how far behind a task is."""


class Phase(StrEnum):
    """How far a service is."""

    STARTING = "starting"
    """Kafka and the database have not been reached yet, or a role has not been started."""
    READY = "ready"
    STOPPING = "stopping"


class TaskHealth(msgspec.Struct, frozen=True):
    """How a task is. `problem` says why it is not well; empty where it is, or may become so by itself."""

    task: str
    state: str
    since: str
    restarts: int
    problem: str
    last_error: str
    last_exit: TaskExit | None
    seconds_since_exit: float | None
    lag_seconds: float | None


class Health(msgspec.Struct, frozen=True):
    """How a service is: `ok`, or `failing` where a task is not well. `lag_seconds` is the longest of any task."""

    status: Literal["ok", "failing"]
    phase: Phase
    lag_seconds: float | None
    tasks: list[TaskHealth]


def health_of(tasks: Mapping[str, TaskStanding], told: Told, *, phase: Phase, now: str) -> Health:
    """Return how a service is at the canonical time `now`."""
    lags = {task: lag for task in tasks if (lag := _lag(told, task)) is not None}
    found = [
        TaskHealth(
            task=task,
            state=str(standing.condition),
            since=standing.since,
            restarts=standing.restarts,
            problem=problem_of(standing, now=now),
            last_error=standing.last.error if standing.last else "",
            last_exit=standing.last,
            seconds_since_exit=max(seconds_between(standing.last.at, now), 0.0) if standing.last else None,
            lag_seconds=lags.get(task),
        )
        for task, standing in sorted(tasks.items())
    ]
    failing = any(one.problem for one in found)
    return Health("failing" if failing else "ok", phase, max(lags.values(), default=None), found)


def problem_of(standing: TaskStanding, *, now: str) -> str:
    """Return why a task is not well at the canonical time `now`; empty where it is, or may become so by itself."""
    if standing.condition is Condition.GIVEN_UP:
        return f"given up: {standing.last.next if standing.last else ''}"
    in_trouble = standing.condition is Condition.RESTARTING or (
        standing.condition is Condition.RUNNING and seconds_between(standing.since, now) < SERVICE_POLICY.steady_seconds
    )
    if not in_trouble or not standing.troubled_since:
        return ""
    seconds = seconds_between(standing.troubled_since, now)
    return f"restarted again and again for {seconds:.0f} s" if seconds > TROUBLE_SECONDS else ""


def _lag(told: Told, task: str) -> float | None:
    lags = [sample.value for sample in told.samples.get(task, ()) if sample.name.endswith(LAG_END)]
    return max(lags, default=None)
