"""What a role counts, and tells its supervisor every few seconds."""

import time
from collections.abc import Callable, Mapping
from typing import Literal

from tallystick.contracts.measures import Sample

EVERY_SECONDS = 2.0
_PREFIX = "tally_atproto_"
_Series = tuple[str, tuple[tuple[str, str], ...]]


class Counters:
    """Counters and gauges by name and labels. Names are given without the prefix `tally_atproto_`."""

    def __init__(
        self, tell: Callable[[list[Sample]], None] = lambda _samples: None, *, common: Mapping[str, str] | None = None
    ) -> None:
        """`common` are labels that all of them have."""
        self._tell, self._common = tell, dict(common or {})
        self._values: dict[_Series, float] = {}
        self._told_at = float("-inf")

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        series = (name, _ordered(labels))
        self._values[series] = self._values.get(series, 0) + by

    def show(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._values[name, _ordered(labels)] = value

    def value(self, name: str, **labels: str) -> float:
        """Return what a counter or gauge stands at; 0 where it was never touched."""
        return self._values.get((name, _ordered(labels)), 0)

    def samples(self) -> list[Sample]:
        """Return all of them. What ends in `_total` is a counter."""
        return [
            Sample(_PREFIX + name, value, {**self._common, **dict(labels)}, _kind_of(name))
            for (name, labels), value in sorted(self._values.items())
        ]

    def tick(self, *, now: bool = False) -> None:
        """Tell them if that is due, or `now`. Cheap: call often."""
        if now or time.monotonic() - self._told_at >= EVERY_SECONDS:
            self._told_at = time.monotonic()
            self._tell(self.samples())


def _ordered(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()) if len(labels) > 1 else labels.items())


def _kind_of(name: str) -> Literal["counter", "gauge"]:
    return "counter" if name.endswith("_total") else "gauge"
