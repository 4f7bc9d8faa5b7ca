"""Progress as the sign of life: an agent that has work and does none is ended, so that it is started again.

Faust can stop without a word: a topic that was missing for a moment while a broker came back is left out of the
assignment until the next rebalance, and a worker may stay up doing nothing.
"""

import time
from collections.abc import Callable
from typing import Protocol

from tallystick.errors import ServiceError
from tallystick.kafka.groups import Offsets, Place

STALL_SECONDS = 20.0


class Lag(Protocol):
    """Tells how far a group has come (`tallystick.kafka.groups.Group`)."""

    def behind(self) -> Offsets:
        """Return the committed offset of each partition that has records after it. Raises ServiceError."""


class StallWatch:
    """Finds partitions that are behind and have not moved for `STALL_SECONDS`."""

    def __init__(self, lag: Lag, clock: Callable[[], float] = time.monotonic) -> None:
        self._lag, self._clock = lag, clock
        self._since: dict[Place, tuple[int, float]] = {}

    def forget(self) -> None:
        """Begin anew: nobody could work meanwhile."""
        self._since.clear()

    def stalled(self) -> list[Place]:
        """Look once, and return the partitions that stand still though there is work."""
        now = self._clock()
        try:
            behind = self._lag.behind()
        except ServiceError:  # that Kafka doesn't answer is no fault of the group
            behind = {}
        self._since = {
            place: known if (known := self._since.get(place)) and known[0] == offset else (offset, now)
            for place, offset in behind.items()
        }
        return [place for place, (_, since) in self._since.items() if now - since > STALL_SECONDS]
