"""`tally import cowrieprocessor`, by the real command: exact, however often and after any death, the old untouched."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import psutil
import pytest
import sqlalchemy as sa

from producers.cowrie.generator import Plan, lines
from tallystick.settings import Settings
from tests import old_database
from tests.dumps import count, dump
from tests.loads import SUCCEEDED, ask, verdicts
from tests.plugins.services import apart, on_sqlite
from tests.support import TALLY, environment, eventually, tally, tally_here, tally_json
from tests.warm import Command

EVENTS = 8_000
REFUSED = ['{"eventid":"cowrie.new.kind_of","timestamp":"2026-01-01T00:00:00Z","session":"abc"}', "half a li"]
SESSIONS = "SELECT session_id, event_count, command_count, command_signature FROM session_summaries"
COMMANDS = "SELECT session_id, ordinal, command_normalized, occurrences FROM command_stats"
ROWS = "SELECT sensor, session_id, digest, event_type FROM raw_events"
LOOKS = (SESSIONS, COMMANDS, ROWS)
DATABASES = ["postgresql", "sqlite"]
PAIRS = [("postgresql", "sqlite"), ("sqlite", "postgresql")]
"""The old database and the one to fill: the processes that read the one know nothing of the other."""


class Old(NamedTuple):
    """An old database: its URL, and a digest of all that it holds."""

    url: str
    content: Callable[[], str]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log from which the old databases were filled."""
    path = tmp_path_factory.mktemp("logs") / "cowrie.json"
    path.write_bytes(b"".join(lines(Plan(events=EVENTS, seed=21))))
    return path


@pytest.fixture(scope="module")
def sqlite(log: Path) -> Old:
    """An old database in a file."""
    path = log.with_name("old.db")
    engine = sa.create_engine(f"sqlite:///{path}")
    old_database.make(engine, log.read_bytes().splitlines(), refused=REFUSED)
    engine.dispose()
    return Old(f"sqlite:///{path}", lambda: hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def postgresql(servers: Settings, log: Path) -> Iterator[Old]:
    """An old database in a schema of the PostgreSQL that ours is in."""
    schema = f"old{os.getpid()}"
    assert servers.database.url is not None
    url = sa.make_url(servers.database.url.get_secret_value()).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, connect_args={"options": f"-c search_path={schema}"})
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    old_database.make(engine, log.read_bytes().splitlines(), refused=REFUSED)

    def content() -> str:
        digests = [
            f"SELECT md5(string_agg(t::text || t.xmin || t.ctid, '' ORDER BY id)) FROM {name} t"
            for name in ("raw_events", "dead_letter_events")
        ]
        with engine.connect() as connection:
            names = sorted(sa.inspect(connection).get_table_names())
            return repr([names, *(connection.scalar(sa.text(digest)) for digest in digests)])

    named = url.set(drivername="postgresql").update_query_dict({"options": f"-csearch_path={schema}"})
    yield Old(named.render_as_string(hide_password=False), content)
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    engine.dispose()


@pytest.fixture(params=DATABASES)
def old(request: pytest.FixtureRequest) -> Old:
    """An old database, of either kind."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Old)
    return found


def look(settings: Settings) -> list[list[str]]:
    """What a database holds, whichever source brought it: sessions, commands, and the events by their bytes."""
    return [sorted(map(repr, ask(settings, query))) for query in LOOKS]


@pytest.fixture(scope="module")
def from_log(servers: Settings, log: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What a load of the log itself gives."""
    with apart(servers, home=tmp_path_factory.mktemp("home")) as settings:
        loaded = tally(settings, "load", str(log))
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        return look(settings)


@contextmanager
def importing(settings: Settings, old: Old) -> Iterator[Command]:
    """Give a running import, which reads in small windows."""
    with Command(
        [*TALLY, "import", "cowrieprocessor", "--json"],
        env={**environment(settings), "TALLY_READER__WINDOW_BYTES": "65536", "TALLY_IMPORT_URL": old.url},
    ) as process:
        yield process


def by_source(result: dict[str, Any]) -> dict[str, tuple[int, int, int, dict[str, str | None]]]:
    return {
        source["name"].split(" ")[-1]: (source["lines"], source["events"], source["dead_letters"], verdicts(source))
        for source in result["sources"]
    }


EXPECTED = {"raw_events": (EVENTS, EVENTS, 0, SUCCEEDED), "dead_letter_events": (2, 1, 1, SUCCEEDED)}


def importers(process: Command) -> list[psutil.Process]:
    """Return the running importers of an import."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "tallystick.cli.run importer" in " ".join(child.cmdline())]


class World(NamedTuple):
    """An old database that was imported, imported again, and the log from which it was filled loaded beside it."""

    settings: Settings
    old: Old
    before: str
    first: dict[str, Any]
    said: str
    arguments: str
    """Of the running importer."""
    again: dict[str, Any]
    dumps: list[dict[str, list[str]]]
    """After each of the imports."""
    beside: CompletedProcess[str]
    looks: list[list[list[str]]]
    """After the imports, and after the load."""


@pytest.fixture(scope="module", params=PAIRS, ids=" into ".join)
def world(
    request: pytest.FixtureRequest, servers: Settings, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    old = request.getfixturevalue(request.param[0])
    home = tmp_path_factory.mktemp("home")
    with apart(servers, home=home) as mine:
        settings = on_sqlite(mine, home) if request.param[1] == "sqlite" else mine
        before = old.content()
        with importing(settings, old) as process:
            [importer] = eventually(lambda: importers(process))
            arguments = " ".join(importer.cmdline())
            output, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        dumps = [dump(settings)]
        again = tally_json(settings, "import", "cowrieprocessor", old.url, "--json")
        dumps.append(dump(settings))
        looks = [look(settings)]
        beside = tally(settings, "load", str(log))
        looks.append(look(settings))
        yield World(settings, old, before, json.loads(output), said, arguments, again, dumps, beside, looks)


def test_an_import_and_the_log_itself_are_the_same(world: World, from_log: list[list[str]]) -> None:
    assert world.first["succeeded"] is True, world.first
    assert by_source(world.first) == EXPECTED
    [(reason, payload, detail)] = ask(world.settings, "SELECT reason, payload, metadata_json FROM dead_letter_events")
    assert (reason, payload) == ("not JSON", b"half a li")
    assert "dead_letter_events 2, of /logs/bad.json:1" in str(detail)
    assert count(world.settings, "cp_raw_events") == EVENTS + 1
    assert [[row for row in rows if "'abc'" not in row] for rows in world.looks[0]] == from_log


def test_a_second_import_changes_no_row(world: World) -> None:
    assert by_source(world.again) == EXPECTED
    assert world.dumps[0] == world.dumps[1]


def test_the_old_database_stays_as_it_was(world: World) -> None:
    assert world.old.content() == world.before


def test_loading_the_log_beside_it_adds_no_event(world: World) -> None:
    assert world.beside.returncode == 0, world.beside.stdout + world.beside.stderr
    assert world.looks[0] == world.looks[1]


@pytest.mark.parametrize("world", PAIRS[:1], ids=" into ".join, indirect=True)
def test_the_password_stays_out_of_process_lists_names_and_logs(world: World) -> None:
    password = str(sa.make_url(world.old.url).password)
    logs = "".join(path.read_text() for path in (world.settings.home / "logs").iterdir())
    for text in (world.arguments, json.dumps(world.first), world.said, logs):
        assert password not in text


@pytest.mark.parametrize("victim", ["importer", "all"])
def test_an_import_that_is_killed_goes_on_and_is_exact(settings: Settings, old: Old, victim: str) -> None:
    before = old.content()
    with importing(settings, old) as process:
        [importer] = eventually(lambda: importers(process))
        if victim == "importer":
            # All of its rows may be on their way before the first is seen, so nothing is waited for.
            importer.kill()
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said
            assert "SIGKILL" in said, "a death is told, not hidden"
        else:
            eventually(lambda: count(settings, "raw_events"), until=lambda rows: rows > 0)
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            eventually(lambda: [child for child in children if child.is_running()], until=lambda alive: not alive)
    result = tally_json(settings, "import", "cowrieprocessor", old.url, "--json")
    assert by_source(result) == EXPECTED
    [(rows, sessions)] = ask(
        settings, "SELECT (SELECT count(*) FROM raw_events), (SELECT sum(event_count) FROM session_summaries)"
    )
    assert (rows, int(sessions)) == (EVENTS + 1, EVENTS + 1)
    assert old.content() == before


def test_the_old_database_as_the_one_to_fill_is_refused_and_said_what_to_do(settings: Settings, sqlite: Old) -> None:
    before = sqlite.content()
    done = tally(settings, "import", "cowrieprocessor", sqlite.url, "--database", sqlite.url)
    assert done.returncode == 78
    assert "cowrieprocessor made" in done.stderr
    assert "then `tally import cowrieprocessor URL`" in done.stderr
    assert sqlite.content() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("sqlite:////nowhere.db",), "no such file", id="no file"),
        pytest.param(("{old}", "--since", "yesterday"), "not a time", id="no time"),
        pytest.param(("{old}", "--sensor", "a\nb"), "can't be a sensor's name", id="no sensor"),
        pytest.param((), "Missing argument", id="no URL"),
    ],
)
def test_usage(servers: Settings, sqlite: Old, arguments: tuple[str, ...], said: str) -> None:
    done = tally_here(servers, "import", "cowrieprocessor", *(word.format(old=sqlite.url) for word in arguments))
    assert done.returncode == 2
    assert said in done.stderr
