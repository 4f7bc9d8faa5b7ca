"""The schema: from nothing to head, on both databases, by one process of many, and never over foreign tables."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command

from sinks import migrate
from sinks.projection import bind_to_log, projection_id
from sinks.schema import metadata
from tallystick.database.engine import make_engine
from tallystick.errors import ConfigurationError
from tallystick.settings import Settings
from tests.sinks import query


def test_an_empty_database_comes_to_head_and_is_then_as_the_code_says(place: Settings) -> None:
    engine = make_engine(place)
    assert migrate.current(engine) is None
    assert migrate.check(engine) == ["the database holds no tables of Tallystick: run `tally db upgrade`"]
    assert migrate.upgrade(engine, place) == migrate.head() == migrate.current(engine)
    assert migrate.check(engine) == []
    name = projection_id(engine)
    assert migrate.upgrade(engine, place) == migrate.head()
    assert projection_id(engine) == name
    assert len(name) == 12
    engine.dispose()


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
        command.downgrade(migrate.alembic_config(connection), "base")
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
