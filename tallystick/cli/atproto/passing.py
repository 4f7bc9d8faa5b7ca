"""Whether all that is in Kafka now has been worked on by everybody who has to, one after another.

What somebody sends while it works on a topic is there before it commits. So once it has come to where the topic ended,
the next topic holds all that follows, and what follows from that is waited for likewise.
"""

from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa

from sinks.schema import sink_offsets
from tallystick.kafka.groups import Offsets


class Hop(msgspec.Struct, frozen=True):
    """Somebody who works on what a topic holds: where the topic ends, and how far it has come."""

    name: str
    ends: Callable[[], Offsets]
    passed: Callable[[], Offsets]


class Course:
    """Hops, each of which begins where the one before is through. Raises what its functions raise."""

    def __init__(self, hops: Sequence[Hop]) -> None:
        self._hops = list(hops)
        self._ends: Offsets | None = None

    @property
    def waits_for(self) -> str:
        """Who is waited for; empty where nobody is."""
        return self._hops[0].name if self._hops else ""

    def look(self) -> bool:
        """Return whether all are through."""
        while self._hops:
            hop = self._hops[0]
            if self._ends is None:
                self._ends = hop.ends()
            passed = hop.passed()
            if any(passed.get(place, 0) < end for place, end in self._ends.items()):
                return False
            del self._hops[0]
            self._ends = None
        return True


def sink_passed(engine: sa.Engine, sink: str, topic: str) -> Offsets:
    """Return how far a sink has come in the topic of that full name, as the database holds it.

    Raises SQLAlchemyError.
    """
    table = sink_offsets.c
    query = sa.select(table.partition, table.next_offset).where(table.sink == sink, table.topic == topic)
    with engine.connect() as connection:
        return {(topic, partition): int(offset) for partition, offset in connection.execute(query)}
