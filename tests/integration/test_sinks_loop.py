"""The consumer loop when something is in the way: another process, no database, another Kafka."""

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from sinks import migrate
from tallystick.contracts.cowrie import EVENTS
from tallystick.database.engine import make_engine
from tallystick.errors import ConfigurationError, ServiceError
from tallystick.kafka.publisher import Publisher
from tallystick.kafka.topics import cluster_id
from tallystick.settings import Settings
from tests.proxy import proxied
from tests.sinks import events, query, ready, running, send_slice, wait_for_rows, wait_until_observed

ROWS = "SELECT count(*) FROM raw_events"


def test_two_sinks_of_a_kind_share_the_partitions_and_one_that_leaves_is_taken_over(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    def send(start: int) -> None:
        for session in range(40):
            found = events(2, first=start + 2 * session)
            send_slice(publisher, place, found, session=f"s{session}", low=found[0][0])
        publisher.flush()

    with running(place, "raw_events"):
        send(0)
        with running(place, "raw_events"):
            send(100)
            wait_until_observed(place, "raw_events", (160, 0, 0))
        send(200)
        wait_until_observed(place, "raw_events", (240, 0, 0))
    assert query(engine, ROWS) == [(240,)]


def test_a_sink_that_was_overtaken_writes_nothing_and_starts_again_from_the_database(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    send_slice(publisher, place, events(3))
    publisher.flush()
    with running(place, "raw_events"):
        wait_until_observed(place, "raw_events", (3, 0, 0))
        # As if another process had stored the next two records, and this one had not heard of it.
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE sink_offsets SET next_offset = next_offset + 2"))
        for first in (10, 20, 30):
            send_slice(publisher, place, events(3, first=first), low=first * 100)
            publisher.flush()
        wait_for_rows(engine, ROWS, (6,))
        wait_until_observed(place, "raw_events", (6, 0, 0))
    assert query(engine, "SELECT min(source_offset), max(source_offset) FROM raw_events") == [(0, 3200)]


def test_while_the_database_is_away_nothing_is_lost_and_the_sink_goes_on_afterwards(settings: Settings) -> None:
    engine, publisher = ready(settings), Publisher(settings, client_id="test")
    url = sa.make_url(settings.database.url.get_secret_value() if settings.database.url else "")
    with proxied((url.host or "", url.port or 5432)) as proxy:
        through = SecretStr(url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))
        away = settings.model_copy(update={"database": settings.database.model_copy(update={"url": through})})
        with running(away, "raw_events"):
            send_slice(publisher, settings, events(5))
            publisher.flush()
            wait_until_observed(settings, "raw_events", (5, 0, 0))
            proxy.cut()
            send_slice(publisher, settings, events(5, first=5), low=500)
            publisher.flush()
            assert proxy.refused.wait(20), "the sink did not try again"
            assert query(engine, ROWS) == [(5,)]
            proxy.heal()
            wait_until_observed(settings, "raw_events", (10, 0, 0))
    assert query(engine, ROWS) == [(10,)]
    engine.dispose()


def test_a_sink_that_waits_for_the_database_can_be_stopped(settings: Settings) -> None:
    ready(settings).dispose()
    publisher = Publisher(settings, client_id="test")
    url = sa.make_url(settings.database.url.get_secret_value() if settings.database.url else "")
    with proxied((url.host or "", url.port or 5432)) as proxy:
        through = SecretStr(url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))
        away = settings.model_copy(update={"database": settings.database.model_copy(update={"url": through})})
        with running(away, "raw_events"):
            send_slice(publisher, settings, events(5))
            publisher.flush()
            wait_until_observed(settings, "raw_events", (5, 0, 0))
            proxy.cut()
            send_slice(publisher, settings, events(5, first=5), low=500)
            publisher.flush()
            assert proxy.refused.wait(20), "the sink did not try again"


def test_offsets_beyond_the_end_of_the_topic_are_an_error_that_explains(place: Settings, engine: sa.Engine) -> None:
    row = {"cluster": cluster_id(place), "topic": place.kafka.topic(EVENTS)}
    columns = "cluster_id, topic, sink, partition, next_offset"
    with engine.begin() as connection:
        connection.execute(
            sa.text(f"INSERT INTO sink_offsets ({columns}) VALUES (:cluster, :topic, 'raw_events', 0, 1000)"), row
        )
    beyond = pytest.raises(ServiceError, match="up to offset 1000, but the topic ends at 0")
    with beyond, running(place, "raw_events", "dead_letters") as sinks:
        sinks.join(30)


def test_a_database_that_is_not_migrated_is_refused(place: Settings) -> None:
    empty = make_engine(place)
    with pytest.raises(ConfigurationError, match="tally db upgrade"), running(place, "raw_events", "sources"):
        pass
    assert migrate.current(empty) is None
    empty.dispose()
