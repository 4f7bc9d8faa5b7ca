"""What roles told of themselves last. Their words hold what strangers write: names, lengths, numbers have bounds."""

import math
import re
from collections import Counter
from threading import Lock

import msgspec

from tallystick.contracts.measures import Sample
from tallystick.logs import get_logger

MOST_SERIES = 1_000
"""So many series are kept of one task, the first that came; what is beyond is counted."""
MAX_LABEL_CHARS = 200
MOST_LABELS = 10
TASK = "task"
"""The label that says whose series it is."""

_BEGINNING = re.compile(r'\s*\{\s*"measures"')
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
_COUNTER_END = "_total"

log = get_logger(__name__)


class _Said(msgspec.Struct):
    measures: list[Sample]


class Told(msgspec.Struct, frozen=True):
    """What is known of all tasks: the newest samples, and how much could not be taken of each since the start."""

    samples: dict[str, tuple[Sample, ...]] = {}
    malformed: dict[str, int] = {}
    dropped: dict[str, int] = {}


_Series = tuple[str, tuple[tuple[str, str], ...]]
_decode = msgspec.json.Decoder(_Said).decode


class Measures:
    """Takes lines of roles' standard output. Any thread may use it; it never raises."""

    def __init__(self, *, most_series: int = MOST_SERIES) -> None:
        self._most = most_series
        self._lock = Lock()
        self._series: dict[str, dict[_Series, Sample]] = {}
        self._malformed: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def take(self, task: str, line: str) -> bool:
        """Take a line, if it is one of measures, and return whether it is. The newest of each series counts."""
        if not _BEGINNING.match(line):
            return False
        try:
            samples = _decode(line).measures
        except msgspec.MsgspecError as error:
            self._refuse(task, str(error))
            return True
        for sample in samples:
            if why := _wrong_with(sample):
                self._refuse(task, why)
            else:
                self._keep(task, _bounded(sample))
        return True

    def forget(self, task: str) -> None:
        """Forget what a task has told, because its process has ended."""
        with self._lock:
            self._series.pop(task, None)

    def told(self) -> Told:
        """Return all that is known now."""
        with self._lock:
            samples = {task: tuple(series.values()) for task, series in self._series.items()}
            return Told(samples, dict(self._malformed), dict(self._dropped))

    def _keep(self, task: str, sample: Sample) -> None:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        with self._lock:
            series = self._series.setdefault(task, {})
            if key in series or len(series) < self._most:
                series[key] = sample
                return
            self._dropped[task] += 1
            first = self._dropped[task] == 1
        if first:
            log.warning("a task tells too many series; further ones are counted only", task=task, most=self._most)

    def _refuse(self, task: str, why: str) -> None:
        with self._lock:
            self._malformed[task] += 1
            first = self._malformed[task] == 1
        if first:
            log.warning("a task's measures can't be taken; further ones are counted only", task=task, error=why[:500])


def _wrong_with(sample: Sample) -> str:
    """Return why a sample can't be shown; empty where it can."""
    if not _NAME.fullmatch(sample.name):
        return f"no name of a metric: {sample.name[:100]!r}"
    if (sample.kind == "counter") != sample.name.endswith(_COUNTER_END):
        return f"a counter, and nothing else, ends in {_COUNTER_END}: {sample.name}"
    if not math.isfinite(sample.value):
        return f"no number: {sample.name}"
    if len(sample.labels) > MOST_LABELS or not all(_NAME.fullmatch(name) and name != TASK for name in sample.labels):
        return f"no labels: {sample.name}"
    return ""


def _bounded(sample: Sample) -> Sample:
    if all(len(value) <= MAX_LABEL_CHARS for value in sample.labels.values()):
        return sample
    return msgspec.structs.replace(
        sample, labels={name: value[:MAX_LABEL_CHARS] for name, value in sample.labels.items()}
    )
