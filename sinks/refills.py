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
    table = sink_offsets.c
    done = sa.case((table.next_offset < table.refill_to, table.next_offset), else_=table.refill_to)
    query = (
        sa.select(table.sink, sa.func.sum(done), sa.func.sum(table.refill_to))
        .group_by(table.sink)
        .having(sa.func.sum(done) < sa.func.sum(table.refill_to))
    )
    return {sink: Refill(int(taken), int(total)) for sink, taken, total in connection.execute(query)}
