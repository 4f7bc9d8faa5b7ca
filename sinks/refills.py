"""Tables that are being filled again: how far their sinks are on the way to where they were before."""

import msgspec
import sqlalchemy as sa

from sinks.schema import sink_offsets


class Refill(msgspec.Struct, frozen=True):
    """Of `total` records that a sink had taken when its tables were emptied, `done` are taken again."""

    done: int
    total: int

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.done:,} of {self.total:,} records"


def read_refills(connection: sa.Connection) -> dict[str, Refill]:
    """Return, by name, the sinks that are not yet where they were."""
    return {sink: Refill(int(taken), int(total)) for sink, taken, total in connection.execute(_REFILLS)}


_TABLE = sink_offsets.c
_DONE = sa.case((_TABLE.next_offset < _TABLE.refill_to, _TABLE.next_offset), else_=_TABLE.refill_to)
_REFILLS = (
    sa.select(_TABLE.sink, sa.func.sum(_DONE), sa.func.sum(_TABLE.refill_to))
    .group_by(_TABLE.sink)
    .having(sa.func.sum(_DONE) < sa.func.sum(_TABLE.refill_to))
)
