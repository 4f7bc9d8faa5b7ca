"""The tables of an old database as sources: what each row becomes, where an import goes on, what it refuses."""

import hashlib
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from producers.cowrie.generator import Plan, lines
from producers.cowrie.importing.database import RAW_EVENTS, OldDatabase
from producers.cowrie.importing.identity import bound
from producers.progress import FileOutcome
from tallystick.contracts.stages import Claimed
from tallystick.errors import ServiceError, UsageError
from tests import old_database
from tests.importing_world import ImportWorld, file_url, run

LOG = [line.rstrip(b"\n") for line in lines(Plan(events=400, seed=9))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "old #1.db"


@pytest.fixture
def url(path: Path) -> str:
    """An old database of 400 events, and one dead letter that is none to us."""
    engine = sa.create_engine(file_url(path))
    refused = ['{"eventid":"cowrie.new.kind_of","timestamp":"2026-01-01T00:00:00Z","session":"abc"}', "half a li"]
    old_database.make(engine, LOG, refused=refused)
    engine.dispose()
    return file_url(path)


def claims(world: ImportWorld, outcomes: list[FileOutcome]) -> list[tuple[int, int]]:
    """Events and dead letters as claimed; they must be what an observer counts."""
    found = []
    for outcome in outcomes:
        claim = [said for said in world.stage_events(Claimed) if said.source == outcome.source][-1]
        assert outcome.state == "claimed"
        assert claim.counts == outcome.counts
        assert world.observed(outcome.source) == (claim.counts["events"], claim.counts["dead"])
        assert world.ends_hold(claim)
        found.append((claim.counts["events"], claim.counts["dead"]))
    return found


def test_every_event_comes_with_the_bytes_of_the_log_and_nothing_is_written(url: str, path: Path) -> None:
    before = hashlib.sha256(path.read_bytes()).digest()
    world = ImportWorld()
    assert claims(world, world.bring(url)) == [(400, 0), (1, 1)]
    lines_sent = [line for _, _, line in world.events()]
    assert sorted(lines_sent[:-1]) == sorted(LOG)
    assert b"cowrie.new.kind_of" in lines_sent[-1]
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert sorted(found.name for found in path.parent.iterdir()) == [path.name]


def test_the_position_of_an_event_is_its_old_id(url: str) -> None:
    world = ImportWorld()
    world.bring(url)
    stands = {
        event: position
        for _, found in world.slices()
        for event, position in zip(found.events, found.positions, strict=True)
    }
    assert [stands[line] for line in LOG] == list(range(1, 401))


def test_a_second_import_sends_nothing_and_says_the_same_again(url: str) -> None:
    world = ImportWorld()
    first = world.bring(url)
    sent = world.events(), world.letters()
    assert world.bring(url) == first
    assert (world.events(), world.letters()) == sent


def test_what_has_come_since_is_the_next_attempt(url: str) -> None:
    world = ImportWorld()
    first = world.bring(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        old_database.add(connection, lines(Plan(events=30, seed=10)), source="/logs/next.json")
    engine.dispose()
    second = world.bring(url)
    assert claims(world, second) == [(430, 0), (1, 1)]
    assert [(outcome.source, outcome.attempt) for outcome in second] == [
        (first[0].source, 2),
        (first[1].source, 1),
    ]
    assert len(world.events()) == 431, "what was there before is not sent again"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE raw_events SET payload = '{}' WHERE id = 200", id="changed"),
        pytest.param("DELETE FROM raw_events WHERE id = 200", id="missing"),
        pytest.param("DELETE FROM raw_events WHERE id = 400", id="missing at the end"),
        pytest.param(
            "INSERT INTO raw_events (id, source, payload) VALUES (0, 'x', '{}')",
            id="added before",
        ),
    ],
)  # fmt: skip
def test_where_a_row_that_was_imported_is_no_longer_so_all_is_read_as_another_source(url: str, change: str) -> None:
    world = ImportWorld()
    first = world.bring(url)
    run(url, change)
    second = world.bring(url)
    assert second[0].source != first[0].source
    assert second[1].source == first[1].source
    claims(world, second)
    assert world.bring(url) == second


def test_a_selection_is_a_source_of_its_own(url: str) -> None:
    times = sorted(json.loads(line)["timestamp"] for line in LOG)
    world = ImportWorld()
    whole = world.bring(url)
    since = world.bring(url, since=times[100])
    part = world.bring(url, since=times[100], until=times[300])
    assert len({outcome.source for outcome in (*whole, *since, *part)}) == 6
    assert claims(world, since)[0] == (sum(time >= times[100] for time in times), 0)
    assert claims(world, part)[0] == (sum(times[100] <= time < times[300] for time in times), 0)
    assert claims(world, part)[1] == (0, 0), "what is no event is chosen by when the old tool stored it"


@pytest.mark.parametrize(
    ("columns", "values", "reason", "payload", "detail"),
    [
        pytest.param("payload", "'[1]'", "not a JSON object", b"[1]", "raw_events 401, of /a:7; list", id="a list"),
        pytest.param("payload", "'{'", "not JSON", b"{", "raw_events 401, of /a:7; Expecting", id="no JSON"),
        pytest.param("payload", "x'ff00'", "not JSON", b"\xff\x00", "raw_events 401, of /a:7", id="bytes"),
        pytest.param("payload", "'{}'", "eventid is missing", b"{}", "raw_events 401, of /a:7", id="no event"),
        pytest.param("quarantined", "1", "no payload", b"", "raw_events 401, of /a:7", id="no payload"),
        pytest.param(
            "source_inode, payload",
            '\'/a\', \'{"eventid":"x","timestamp":"2026-01-01"}\'',
            "made up by the repair of cowrieprocessor",
            b'{"eventid":"x","timestamp":"2026-01-01"}',
            "raw_events 401, of /a:7",
            id="what the old repair made up",
        ),
    ],
)
def test_what_is_no_event_is_a_dead_letter_that_names_the_old_row(
    url: str, columns: str, values: str, reason: str, payload: bytes, detail: str
) -> None:
    run(
        url,
        "CREATE TABLE copied AS SELECT * FROM raw_events",
        "DROP TABLE raw_events",
        "ALTER TABLE copied RENAME TO raw_events",
        f"INSERT INTO raw_events (id, source, source_offset, {columns}) VALUES (401, '/a', 7, {values})",
    )
    world = ImportWorld()
    assert claims(world, world.bring(url))[0] == (400, 1)
    letter = world.letters()[0]
    assert (letter.position, letter.reason, letter.payload) == (401, reason, payload)
    assert letter.detail.startswith(detail)


def test_a_payload_that_is_too_long_is_read_piece_by_piece(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("database", "windows"):
        monkeypatch.setattr(f"producers.cowrie.importing.{module}.PIECE_BYTES", 100)
    long = f'{{"x":"{"y" * 40_000}é"}}'
    run(url, f"INSERT INTO raw_events (id, source, payload) VALUES (401, '/a', '{long}')")
    run(url, "INSERT INTO raw_events (id, source, payload) VALUES (402, '/a', 'after')")
    world = ImportWorld(max_line_bytes=5_000)
    assert max(map(len, LOG)) < 5_000
    assert claims(world, world.bring(url))[0] == (400, 2)
    pieces = [letter for letter in world.letters() if letter.position == 401]
    assert b"".join(piece.payload for piece in pieces) == long.encode()
    assert [piece.piece for piece in pieces] == list(range(len(pieces)))
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    positions = [letter.position for letter in world.letters() if letter.source == pieces[0].source]
    assert positions == sorted(positions), "an observer counts letters in the order of their positions"


def test_a_line_that_is_too_long_is_a_letter_although_the_old_tool_took_it(url: str) -> None:
    longest = max(map(len, LOG))
    world = ImportWorld(max_line_bytes=longest - 1)
    long = {line for line in LOG if len(line) == longest}
    assert claims(world, world.bring(url))[0] == (400 - len(long), len(long))
    assert {letter.reason for letter in world.letters()[: len(long)]} == {"line is too long"}


def test_a_letter_of_several_events_is_several_positions(url: str) -> None:
    run(url, "DELETE FROM dead_letter_events")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        text = "\n".join(["}", *(json.dumps(json.loads(line), indent=2) for line in LOG[:3])])
        letter = {"id": 7, "reason": "x", "payload": {"malformed_content": text}}
        connection.execute(old_database.dead_letter_events.insert().values(letter))
    engine.dispose()
    world = ImportWorld()
    assert claims(world, world.bring(url))[1] == (3, 1)
    found = [found.positions for _, found in world.slices() if found.source == world.letters()[0].source]
    assert sorted(position for positions in found for position in positions) == [7 * 1024 + n for n in (1, 2, 3)]
    assert (world.letters()[0].position, world.letters()[0].payload) == (7 * 1024, b"}")


def test_an_import_that_was_stopped_goes_on_where_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.cowrie.sending.PROGRESS_SECONDS", 0.0)
    world = ImportWorld(window_bytes=4_000)
    stopped = world.bring(url, stop=lambda: any(progress.events > 100 for progress in world.progress))
    assert [outcome.state for outcome in stopped] == ["interrupted", "interrupted"]
    assert 100 < len(world.events()) < 400
    assert claims(world, world.bring(url)) == [(400, 0), (1, 1)]
    assert len(world.events()) == 401


def test_an_empty_database_is_claimed_as_one(tmp_path: Path) -> None:
    engine = sa.create_engine(file_url(tmp_path / "empty.db"))
    old_database.make(engine)
    engine.dispose()
    world = ImportWorld()
    assert claims(world, world.bring(file_url(tmp_path / "empty.db"))) == [(0, 0), (0, 0)]


def test_the_old_database_can_t_be_written_to(url: str) -> None:
    old = OldDatabase(url, max_bytes=1)
    old.require()
    with pytest.raises(sa.exc.OperationalError, match="readonly"), old._engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM raw_events")
    old.close()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("postgresql://u:secret@h:5/d?options=-cx", "postgresql://h:5/d", id="PostgreSQL"),
        pytest.param("postgresql+psycopg2://u:secret@h/d", "postgresql://h/d", id="with a driver"),
    ],
)
def test_a_source_is_named_without_user_and_password(url: str, address: str) -> None:
    assert OldDatabase(url, max_bytes=1).address == address


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("sqlite:////nowhere/at/all.db", "no such file: /nowhere/at/all.db", id="a file that is not there"),
        pytest.param("mysql://u:secret@h/d", "the URL names 'mysql'; PostgreSQL and SQLite", id="another database"),
        pytest.param("cowrie.db", "no database URL such as", id="no URL"),
    ],
)
def test_what_can_t_be_opened_is_named(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        OldDatabase(url, max_bytes=1)
    assert "secret" not in str(refused.value)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    url = file_url(tmp_path / "other.db")
    run(url, "CREATE TABLE raw_events (id integer, payload text)")
    old = OldDatabase(url, max_bytes=1)
    with pytest.raises(UsageError, match="is no database of cowrieprocessor: it has no table raw_events with"):
        old.require()
    old.close()
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 100)
    broken = OldDatabase(file_url(tmp_path / "text.db"), max_bytes=1)
    with pytest.raises(ServiceError, match="can't be read: file is not a database"):
        broken.require()
    broken.close()


def test_a_row_is_read_at_a_time_where_payloads_are_large(url: str) -> None:
    old = OldDatabase(url, max_bytes=100_000)
    old.require()
    assert [row.id for row in old.page(RAW_EVENTS, after=10, max_bytes=1)] == [11]
    assert old.page(RAW_EVENTS, after=400, max_bytes=1) == []
    old.close()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("", "", id="none"),
        pytest.param("2026-01-31", "2026-01-31T00:00:00.000000Z", id="a day"),
        pytest.param("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z", id="an offset"),
        pytest.param("2026-01-31T12:00:00.000000Z", "2026-01-31T12:00:00.000000Z", id="canonical"),
    ],
)
def test_bounds(text: str, moment: str) -> None:
    assert bound(text) == moment


@pytest.mark.parametrize("text", ["yesterday", "2026-02-31"])
def test_a_bound_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write it like 2026-01-31"):
        bound(text)
