"""Queries that were written for cowrieprocessor find its columns, names and types in views of ours."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sinks import schema
from sinks.schema.compatibility import VIEWS
from tallystick.contracts.timestamps import render
from tallystick.settings import Settings
from tests import old_database
from tests.sinks import query, ready

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compatibility-views.md"
AT = [datetime(2026, 1, 1, 12, 0, second, 250_000, tzinfo=UTC) for second in range(10)]
SESSION = {"sensor": "pot", "session_id": "s1"}


def put(engine: sa.Engine, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Insert rows; times are written as the sinks write them."""

    def stored(value: Any) -> Any:
        return render(value) if isinstance(value, datetime) and engine.dialect.name == "sqlite" else value

    with engine.begin() as connection:
        for row in rows:
            connection.execute(table.insert().values({name: stored(value) for name, value in row.items()}))


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """A database that holds something of everything."""
    source = {"revision": 1, "kind": "cowrie.log", "attempt": 1, "claimed_attempt": 1, "confirmed_attempt": 1}
    put(
        engine,
        schema.sources,
        {**source, "source_id": "a", "name": "/logs/cowrie.json", "bytes": 100, "updated_at": AT[1]},
        {**source, "source_id": "b", "name": "/logs/cowrie.json", "bytes": 40, "updated_at": AT[2]},
    )
    event = {**SESSION, "source_id": "a", "event_type": "cowrie.x", "payload": {"n": 1}, "ingest_at": AT[3]}
    put(
        engine,
        schema.raw_events,
        {**event, "digest": 7, "source_offset": 12, "event_timestamp": AT[0], "risk_score": 60},
        {**event, "digest": 8, "source_offset": 13, "event_timestamp": AT[1], "session_id": "", "source_id": "gone"},
    )
    summary = {"revision": 2, "event_count": 2, "source_files": ["a"], "kinds": {}, "cut": {}, "complete": True}
    put(
        engine,
        schema.session_summaries,
        {**SESSION, **summary, "first_event_at": AT[0], "last_event_at": AT[1], "vt_flagged": True, "risk_score": 40},
        {**SESSION, **summary, "sensor": "other pot"},
    )
    command = {**SESSION, "ordinal": 0, "command_normalized": "ls", "occurrences": 3, "high_risk": True}
    put(engine, schema.command_stats, {**command, "first_seen": AT[0], "last_seen": AT[1]})
    file = {**SESSION, "how": "download", "shasum": "cc", "occurrences": 1, "file_size": 5}
    put(
        engine,
        schema.files,
        {**file, "file_key": "1", "filename": "late", "download_url": "", "first_seen": AT[2], "last_updated": AT[4]},
        {**file, "file_key": "2", "filename": "", "download_url": "u", "first_seen": AT[1], "last_updated": AT[3]},
        {**file, "file_key": "3", "filename": "x", "download_url": "v", "shasum": "", "how": "download_failed"},
    )
    letter = {
        "source_id": "a",
        "source_offset": 3,
        "origin": "read",
        "topic": "",
        "partition": -1,
        "reason": "not JSON",
        "metadata_json": {"offset": -1},
        "created_at": AT[5],
    }
    put(
        engine,
        schema.dead_letter_events,
        {**letter, "piece": 0, "last": False, "digest": 1, "payload": b"half \xff\x00a"},
        {**letter, "piece": 1, "last": True, "digest": 2, "payload": b"rest"},
    )
    return engine


def rows(engine: sa.Engine, table: sa.Table) -> list[dict[str, Any]]:
    """What a program that was written for the old table finds in the view: through SQLAlchemy, with the old types."""
    view = table.to_metadata(sa.MetaData(), name=f"cp_{table.name}")
    with engine.connect() as connection:
        return [
            {
                name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
                for name, value in row._mapping.items()
            }
            for row in connection.execute(sa.select(view))
        ]


@pytest.mark.parametrize("view", VIEWS)
def test_each_column_is_selectable_in_the_old_order_and_documented(engine: sa.Engine, view: str) -> None:
    with engine.connect() as connection:
        assert tuple(connection.execute(sa.text(f"SELECT * FROM {view}")).keys()) == VIEWS[view]
    old = old_database.metadata.tables.get(view.removeprefix("cp_"))
    assert old is None or {column.name for column in old.columns} <= set(VIEWS[view])
    section = PAGE.read_text().partition(f"## `{view}`")[2].partition("\n## ")[0]
    assert [column for column in VIEWS[view] if f"`{column}`" not in section] == []


def test_events(filled: sa.Engine) -> None:
    found = {row["id"]: row for row in rows(filled, old_database.raw_events)}
    assert found[7] == {
        "id": 7,
        "ingest_id": None,
        "ingest_at": AT[3],
        "source": "/logs/cowrie.json",
        "source_offset": 12,
        "source_inode": None,
        "source_generation": None,
        "payload": {"n": 1},
        "payload_hash": None,
        "risk_score": 60,
        "quarantined": False,
        "session_id": "s1",
        "event_type": "cowrie.x",
        "event_timestamp": AT[0],
    }
    assert (found[8]["session_id"], found[8]["source"]) == (None, None)


def test_one_session_is_found_by_the_index(settings: Settings) -> None:
    engine = ready(settings)
    with engine.connect() as connection:
        connection.execute(sa.text("SET enable_seqscan = off"))
        plan = connection.scalars(sa.text("EXPLAIN SELECT * FROM cp_raw_events WHERE session_id = 'x'")).all()
    engine.dispose()
    assert any("Index Cond: (session_id = 'x'::text)" in line for line in plan), plan


def test_a_session_of_two_sensors_is_two_rows(filled: sa.Engine) -> None:
    found = query(filled, "SELECT session_id, event_count, risk_score FROM cp_session_summaries ORDER BY risk_score")
    assert sorted(found, key=str) == [("s1", 2, 40), ("s1", 2, None)]
    assert query(filled, "SELECT session_id FROM cp_session_summaries WHERE vt_flagged AND NOT dshield_flagged") == [
        ("s1",)
    ]


def test_commands(filled: sa.Engine) -> None:
    assert query(filled, "SELECT command_normalized, occurrences FROM cp_command_stats WHERE high_risk") == [("ls", 3)]


def test_a_file_is_one_row_a_session_and_checksum(filled: sa.Engine) -> None:
    columns = "shasum, filename, download_url, file_size, enrichment_status"
    assert query(filled, f"SELECT {columns} FROM cp_files") == [("cc", None, "u", 5, "pending")]
    [(first, last)] = query(filled, "SELECT first_seen, last_updated FROM cp_files")
    assert [str(moment)[:19] for moment in (first, last)] == ["2026-01-01 12:00:01", "2026-01-01 12:00:04"]


def test_a_letter_is_one_row_however_many_pieces_it_has(filled: sa.Engine) -> None:
    [letter] = rows(filled, old_database.dead_letter_events)
    content = (
        {"malformed_content": "half \\377\\000a"}
        if filled.dialect.name == "postgresql"
        else {"malformed_content_hex": "68616C6620FF0061"}
    )
    assert letter.pop("id") == 1
    assert letter == {
        "ingest_id": None,
        "source": "/logs/cowrie.json",
        "source_offset": 3,
        "reason": "not JSON",
        "payload": content,
        "metadata_json": {"offset": -1},
        "created_at": AT[5],
        "resolved": False,
        "resolved_at": None,
    }


def test_a_path_has_one_cursor_that_of_its_newest_source(filled: sa.Engine) -> None:
    assert rows(filled, old_database.ingest_cursors) == [
        {
            "source": "/logs/cowrie.json",
            "inode": None,
            "last_offset": 40,
            "last_ingest_at": AT[2],
            "last_ingest_id": None,
            "metadata_json": None,
        }
    ]
