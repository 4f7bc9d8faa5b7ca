"""After a restart a sink says again what Kafka may not have, and nothing else, however many sources there are."""

import pytest
import sqlalchemy as sa

from sinks.counting import Count
from sinks.ledger import Ledger
from sinks.schema import metadata


@pytest.fixture
def engine() -> sa.Engine:
    made = sa.create_engine("sqlite://")
    metadata.create_all(made, tables=[metadata.tables["sink_offsets"], metadata.tables["sink_counters"]])
    return made


def test_only_what_the_last_batch_moved_is_said_again(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for source, partition, begin, end in (("a", 0, 0, 10), ("b", 0, 10, 20), ("c", 1, 0, 5), ("d", 2, 0, 7)):
            ledger().advance(connection, {partition: begin}, {partition: end})
            ledger().store(connection, {(source, partition): Count(next_offset=end, inserted=3)})
        again = list(ledger().unannounced(connection, {0, 1}))
    assert {(one.source, *one.partitions) for one in again} == {("b", 0), ("c", 1)}


def test_what_is_filled_again_is_said_from_the_beginning(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        ledger().store(connection, {("a", 0): Count(next_offset=10, inserted=3)})
        assert [one.source for one in ledger().unannounced(connection, {0})] == ["a"]


def ledger() -> Ledger:
    """Return the books as a new process opens them."""
    return Ledger(cluster="c", sink="raw_events", topic="cowrie.events", projection="p")
