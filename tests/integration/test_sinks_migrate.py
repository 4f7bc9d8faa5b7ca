"""The schema: from nothing to head, on both databases, by one process of many, and never over foreign tables."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command

from sinks import letters as stored
from sinks import migrate
from sinks.letters import Choice, Standing
from sinks.migrations import steps
from sinks.projection import bind_to_log, projection_id
from sinks.schema import metadata
from tallystick.contracts.dead_letters import payload_digest
from tallystick.database.engine import make_engine, snapshot
from tallystick.errors import ConfigurationError
from tallystick.settings import Settings
from tests.sinks import query


def test_an_empty_database_comes_to_head_and_is_then_as_the_code_says(place: Settings) -> None:
    engine = make_engine(place)
    assert migrate.current(engine) is None
    assert migrate.check(engine) == ["the database holds no tables of Tallystick: run `tally db upgrade`"]
    assert migrate.upgrade(engine, place) == migrate.HEAD == migrate.current(engine)
    assert migrate.check(engine) == []
    name = projection_id(engine)
    assert migrate.upgrade(engine, place) == migrate.HEAD
    assert projection_id(engine) == name
    assert len(name) == 12
    engine.dispose()


def test_the_head_is_the_last_step() -> None:
    assert steps.revisions()[0] == migrate.HEAD


def test_many_at_once_upgrade_once(place: Settings) -> None:
    def upgrade(_number: int) -> str:
        engine = make_engine(place)
        try:
            migrate.upgrade(engine, place)
            return projection_id(engine)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(upgrade, range(4)))) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param("ALTER TABLE files DROP COLUMN occurrences", "add column: files, occurrences", id="a column less"),
        pytest.param("ALTER TABLE files ADD COLUMN more integer", "remove column: files, more", id="a column more"),
        pytest.param("DROP TABLE login_attempts", "add table: login_attempts", id="a table less"),
        pytest.param(
            "DROP INDEX ix_session_summaries_first_event_at",
            "add index: ix_session_summaries_first_event_at",
            id="an index less",
        ),
    ],
)
def test_differences_are_named(place: Settings, engine: sa.Engine, change: str, said: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(change))
        connection.execute(sa.text("CREATE TABLE somebody_elses (n integer)"))
    assert migrate.check(engine) == [said]


def test_a_database_of_a_newer_version_is_refused(place: Settings, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE tallystick_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="use a newer one"):
        migrate.upgrade(engine, place)
    with pytest.raises(ConfigurationError, match="9999"):
        migrate.require_head(engine)
    assert query(engine, "SELECT version_num FROM tallystick_version") == [("9999",)]


def test_the_way_back_leaves_nothing(place: Settings, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        command.downgrade(steps.config(connection), "base")
        assert not set(sa.inspect(connection).get_table_names()) & set(metadata.tables)


def test_a_database_that_belongs_to_another_log_is_refused(settings: Settings) -> None:
    engine = make_engine(settings)
    migrate.upgrade(engine, settings)
    cluster = bind_to_log(engine, settings)
    assert bind_to_log(engine, settings) == cluster, "the same log may come again"
    other = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"topic_prefix": "other."})})
    with pytest.raises(ConfigurationError, match="is filled from Kafka cluster and topic prefix"):
        bind_to_log(engine, other)
    engine.dispose()


OLD_LETTERS = """
INSERT INTO dead_letter_events (source_id, source_offset, origin, piece, topic, "partition", reason, payload,
  metadata_json, created_at, resolved, resolved_at) VALUES
  ('a', 0, 'read', 0, '', -1, 'line is too long', :first,
   '{"detail": "", "last": false, "offset": -1}', :at, false, NULL),
  ('a', 0, 'read', 1, '', -1, 'line is too long', :second,
   '{"detail": "", "last": true, "offset": -1}', :at, true, :at),
  ('a', 7, 'raw_events', 0, 'cowrie.events', 2, 'the database refuses it', :third,
   '{"detail": "why", "last": true, "offset": 5}', :at, false, NULL)
"""


def test_letters_of_an_older_version_are_told_apart_and_stay_what_they_were(place: Settings) -> None:
    engine = make_engine(place)
    migrate.upgrade(engine, place)
    payloads = {"first": b"a\x00\xff", "second": b"", "third": b"{}"}
    with engine.begin() as connection:
        command.downgrade(steps.config(connection), "0005")
        connection.execute(sa.text(OLD_LETTERS), {**payloads, "at": "2026-11-23T03:00:00.000000Z"})
        for number in range(60):  # more than one page of them
            connection.execute(
                sa.text(OLD_LETTERS.replace("'a'", f"'more {number}'")), {**payloads, "at": "2026-11-23T03:00:00Z"}
            )
    migrate.upgrade(engine, place)
    assert migrate.check(engine) == []
    found = query(
        engine,
        "SELECT payload, digest, last, resolved, reason FROM dead_letter_events WHERE source_id = 'a' ORDER BY id",
    )
    digests = [payload_digest(payload) for payload in payloads.values()]
    assert [(bytes(payload), digest, bool(last), bool(done)) for payload, digest, last, done, _ in found] == [
        (b"a\x00\xff", digests[0], False, False),
        (b"", digests[1], True, True),
        (b"{}", digests[2], True, False),
    ]
    assert query(engine, "SELECT count(*), count(digest) FROM dead_letter_events") == [(183, 183)]
    with snapshot(engine) as connection:
        refused, *_, joined = stored.find(connection, Choice(standing=Standing.ANY))
        assert (refused.detail, refused.offset, refused.topic) == ("why", 5, "cowrie.events")
        assert stored.content(connection, joined) == b"a\x00\xff"
    engine.dispose()
