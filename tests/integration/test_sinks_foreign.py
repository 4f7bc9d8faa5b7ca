"""A database that another program has made is refused, by name, and stays as it is to the last byte."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from producers.cowrie.generator import Plan, lines
from sinks import migrate
from tallystick.database.engine import make_engine
from tallystick.errors import ConfigurationError, ForeignDatabaseError
from tallystick.settings import Settings
from tests import old_database
from tests.support import tally, tally_here

Do = Callable[[sa.Engine, Settings], object]
WAYS = [
    pytest.param(migrate.upgrade, id="upgrade"),
    pytest.param(lambda engine, _: migrate.require_head(engine), id="require_head"),
    pytest.param(lambda engine, _: migrate.check(engine), id="check"),
]


def occupy(place: Settings, fill: Callable[[sa.Engine], object]) -> None:
    """Fill the place as another program would: with engines of its own, so SQLite's file is in its default mode."""
    url, schema = place.database.url, place.database.schema_name
    assert url is not None
    parsed = sa.make_url(url.get_secret_value())
    if schema is None:
        other = sa.create_engine(parsed)
    else:
        other = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"), connect_args={"options": f"-c search_path={schema}"}
        )
        with other.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
    fill(other)
    other.dispose()


def content(place: Settings) -> object:
    """All that is there: the bytes of the file, or every relation of the schema with the number of its rows."""
    url = place.database.url
    assert url is not None
    if place.database.schema_name is None:
        return Path(str(sa.make_url(url.get_secret_value()).database)).read_bytes()
    engine = make_engine(place)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found = {
            name: connection.scalar(sa.text(f"SELECT count(*) FROM {name}"))
            for name in [*inspector.get_table_names(), *inspector.get_view_names()]
        }
        definition = connection.execute(
            sa.text(
                "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = :s"
            ),
            {"s": place.database.schema_name},
        )
        held = found, sorted(map(tuple, definition))
    engine.dispose()
    return held


@pytest.mark.parametrize("do", WAYS)
def test_a_database_of_cowrieprocessor_is_told_by_name_and_not_changed(place: Settings, do: Do) -> None:
    occupy(place, lambda engine: old_database.make(engine, lines(Plan(events=50))))
    before = content(place)
    engine = make_engine(place)
    with pytest.raises(ForeignDatabaseError) as refused:
        do(engine, place)
    engine.dispose()
    assert content(place) == before
    said = str(refused.value)
    for part in ("cowrieprocessor made (its schema version 17)", "raw_events", "nothing in it was changed"):
        assert part in said
    assert "tally import cowrieprocessor URL" in said
    assert (place.database.schema_name or "tally.db") in said, "where it was found"


@pytest.mark.parametrize("do", WAYS)
@pytest.mark.parametrize(
    ("made", "named"),
    [
        pytest.param(
            ("TABLE session_summaries (session_id text)", "TABLE raw_events (id integer)"),
            "raw_events, session_summaries",
            id="tables",
        ),
        pytest.param(("TABLE mine (n integer)", "VIEW files AS SELECT n FROM mine"), "files", id="a view"),
        pytest.param(("TABLE cp_files (n integer)",), "cp_files", id="a table of the name of one of our views"),
        pytest.param(("TABLE password_statistics (n integer)",), "password_statistics", id="of another of them"),
    ],
)
def test_any_other_program_is_refused_likewise(place: Settings, do: Do, made: tuple[str, ...], named: str) -> None:
    def fill(engine: sa.Engine) -> None:
        with engine.begin() as connection:
            for what in made:
                connection.execute(sa.text(f"CREATE {what}"))

    occupy(place, fill)
    before = content(place)
    engine = make_engine(place)
    with pytest.raises(ForeignDatabaseError, match=f"already holds {named}, which Tallystick didn't make") as refused:
        do(engine, place)
    engine.dispose()
    assert content(place) == before
    assert "cowrieprocessor" not in str(refused.value)


def test_tables_of_other_names_are_no_reason_to_refuse(place: Settings) -> None:
    def fill(engine: sa.Engine) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE schema_state (key text, value text)"))
            connection.execute(sa.text("CREATE TABLE mine (n integer)"))

    occupy(place, fill)
    engine = make_engine(place)
    with pytest.raises(ConfigurationError, match="run `tally db upgrade`"):
        migrate.require_head(engine)
    assert migrate.upgrade(engine, place) == migrate.HEAD
    engine.dispose()


def test_old_versions_of_its_database_are_known_too(sqlite_settings: Settings) -> None:
    def fill(engine: sa.Engine) -> None:
        with engine.begin() as connection:
            columns = "id integer, ingest_id text, payload_hash text, source_inode text, payload text"
            connection.execute(sa.text(f"CREATE TABLE raw_events ({columns})"))
            connection.execute(sa.text("CREATE TABLE schema_state (key text, value text)"))

    occupy(sqlite_settings, fill)
    engine = make_engine(sqlite_settings)
    with pytest.raises(ForeignDatabaseError, match="cowrieprocessor made, with raw_events"):
        migrate.upgrade(engine, sqlite_settings)
    engine.dispose()


def test_the_commands_say_so_and_end_with_78(place: Settings) -> None:
    occupy(place, old_database.make)
    before = content(place)
    refusals = [tally_here(place, *arguments) for arguments in (("db", "upgrade"), ("db", "check"), ("sources",))]
    for done in (*refusals, tally(place, "run", "sinks")):
        assert (done.returncode, done.stdout) == (78, ""), done.args
        assert "cowrieprocessor made" in done.stderr
    assert content(place) == before


def test_a_new_sqlite_file_still_lets_readers_and_a_writer_work_at_once(sqlite_settings: Settings) -> None:
    engine = make_engine(sqlite_settings)
    migrate.upgrade(engine, sqlite_settings)
    engine.dispose()
    url = sqlite_settings.database.url
    assert url is not None
    with sqlite3.connect(str(sa.make_url(url.get_secret_value()).database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
