"""Whether the database would take events, found out by the very code that stores them, in a transaction without end."""

from collections.abc import Sequence

import sqlalchemy as sa

from sinks.isolation import write_isolating
from sinks.raw_events import RawEvents, Row
from sinks.sink import Record
from sinks.writers import make_writer
from tallystick.contracts.dead_letters import REFUSED
from tallystick.contracts.slices import Headers

MOST = 500
"""How many events are tried at once at most: fewer than it takes to hold the tables at fault."""


def would_refuse(engine: sa.Engine, slices: Sequence[tuple[bytes, bytes, Headers]]) -> dict[int, str]:
    """Return why the database would refuse which of `slices`, by index; nothing is stored.

    Each is key, value and headers of a record with one event, `MOST` of them at once. Raises what the database raises
    where the data is not at fault.
    """
    sink = RawEvents(make_writer(engine))
    rows, places, refused = list[Row](), list[int](), dict[int, str]()
    for index, (key, value, headers) in enumerate(slices):
        found = sink.decode(Record(0, index, key, value, headers))
        if found.refused:
            refused[index] = found.refused[0].reason
        rows += found.entries
        places += [index] * len(found.entries)
    with engine.connect() as connection, connection.begin() as transaction:
        _, reasons = write_isolating(connection, rows, sink.write)
        transaction.rollback()
    return refused | {places[row]: f"{REFUSED}: {reason}" for row, reason in reasons.items()}
