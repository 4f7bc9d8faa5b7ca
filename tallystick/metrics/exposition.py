"""The text that Prometheus reads, from how tasks stand and what they told. Pure."""

import platform
import signal
from collections.abc import Iterable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tallystick import __version__
from tallystick.contracts.tasks import TaskExit
from tallystick.metrics import names
from tallystick.metrics.measures import TASK, Told
from tallystick.supervision.records import Board
from tallystick.supervision.standing import Condition

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTER_END = "_total"


def exposition(board: Board, told: Told, *, started_at: float) -> bytes:
    """Return all metrics of a service that was started at `started_at`, in seconds since 1970."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*_service(board, told, started_at), *_roles(told)]))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _service(board: Board, told: Told, started_at: float) -> Iterator[Family]:
    tasks = sorted(board.tasks.items())
    exits = [(task, standing.last) for task, standing in tasks if standing.last is not None]
    yield _family(names.EXITS, [((task, reason), count) for (task, reason), count in sorted(board.exits.items())])
    yield _family(names.RESTARTS, [((task,), board.restarts.get(task, 0)) for task, _ in tasks])
    yield _family(names.UP, [((task,), standing.condition is Condition.RUNNING) for task, standing in tasks])
    yield _family(names.LAST_EXIT, [((task,), datetime.fromisoformat(last.at).timestamp()) for task, last in exits])
    codes = [(task, code) for task, last in exits if (code := _code(last)) is not None]
    yield _family(names.LAST_CODE, [((task,), code) for task, code in codes])
    yield _family(names.UNSENT, [((), board.unsent)])
    yield _family(names.MALFORMED, [((task,), count) for task, count in sorted(told.malformed.items())])
    yield _family(names.DROPPED, [((task,), count) for task, count in sorted(told.dropped.items())])
    yield _family(names.STARTED, [((), started_at)])
    yield _family(names.BUILD, [((__version__, platform.python_version()), 1)])


def _family(metric: names.Metric, values: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    family = Family(metric.name.removesuffix(_COUNTER_END), metric.help, metric.kind)
    for labels, value in values:
        family.add_sample(metric.name, dict(zip(metric.labels, labels, strict=True)), value)
    return family


def _roles(told: Told) -> list[Family]:
    taken = {metric.name for metric in names.SERVICE_METRICS}
    families: dict[str, Family] = {}
    for task, samples in sorted(told.samples.items()):
        for sample in samples:
            if sample.name not in taken:
                family = families.get(sample.name)
                if family is None:
                    name = sample.name.removesuffix(_COUNTER_END)
                    family = families[sample.name] = Family(name, "Told by a task.", sample.kind)
                family.add_sample(sample.name, {TASK: task, **sample.labels}, sample.value)
    return [families[name] for name in sorted(families)]


def _code(last: TaskExit) -> int | None:
    if last.exit_code is not None:
        return last.exit_code
    known = getattr(signal, last.signal, None) if last.signal.startswith("SIG") else None
    return -known if isinstance(known, signal.Signals) else None
