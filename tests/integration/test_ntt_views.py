"""Queries that were written for ntt find its names, with what the newest attempt at each medium has found."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from sinks import migrate
from sinks.migrations import steps
from sinks.schema.ntt import VIEWS
from tallystick.contracts.media import CopyError, CopyStatus, Problem, ProblemKind
from tallystick.database.engine import make_engine
from tallystick.errors import ForeignDatabaseError
from tallystick.settings import Settings
from tests.media import AT, MEDIUM, OTHER, copied, failed, file, medium, store_copies, store_entries, store_media
from tests.sinks import query

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ntt-views.md"
BLOB = f"{1:064x}"


def judge(
    engine: sa.Engine, stage: str, verdict: str | None, *, reason: str = "", evidence: dict[str, Any] | None = None
) -> None:
    """Store how a stage stands."""
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO source_stages (source_id, stage, ordinal, attempt, verdict, reason, claimed, observed,"
                " ended_at, evidence) VALUES (:source, :stage, 0, 2, :verdict, :reason, 0, 0, :at, :evidence)"
            ),
            {
                "source": MEDIUM,
                "stage": stage,
                "verdict": verdict,
                "reason": reason,
                "at": AT if verdict else None,
                "evidence": json.dumps(evidence or {}),
            },
        )


def told(engine: sa.Engine, column: str) -> Any:
    """Return what `medium` says."""
    [(value,)] = query(engine, f"SELECT {column} FROM medium")
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


@pytest.mark.parametrize("view", VIEWS)
def test_each_column_is_there_in_its_order_and_documented(engine: sa.Engine, view: str) -> None:
    with engine.connect() as connection:
        assert tuple(connection.execute(sa.text(f"SELECT * FROM {view}")).keys()) == VIEWS[view]
    section = PAGE.read_text().partition(f"## `{view}`")[2].partition("\n## ")[0]
    assert [column for column in VIEWS[view] if f"`{column}`" not in section] == []


def test_a_medium_is_done_only_by_verdicts(engine: sa.Engine) -> None:
    store_media(engine, medium(2, name="CD 7", image=b"/img/x.img", message="from the attic"))
    columns = "medium_hash, medium_human, message, image_path, enum_done, copy_done, health, problems, diagnostics"
    image = "/img/x.img" if engine.dialect.name == "postgresql" else b"/img/x.img"
    assert query(engine, f"SELECT {columns} FROM medium") == [
        (MEDIUM, "CD 7", "from the attic", image, None, None, None, None, None)
    ]
    judge(engine, "enumerated", "succeeded")
    judge(engine, "loaded", "mismatch", reason="records: claimed 2, found 1")
    judge(engine, "copied", None, reason="waiting")
    assert (told(engine, "enum_done"), told(engine, "copy_done")) == (None, None)
    assert told(engine, "diagnostics") == {"loaded": "records: claimed 2, found 1", "copied": "waiting"}
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE source_stages SET verdict = 'succeeded'"))
    audit = "SELECT medium_hash FROM medium WHERE image_path IS NOT NULL AND (enum_done IS NULL OR copy_done IS NULL)"
    assert str(told(engine, "enum_done"))[:10] == AT[:10]
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE source_stages SET ended_at = :at"), {"at": AT})
    assert query(engine, audit) == []


@pytest.mark.parametrize(
    ("bad", "health"),
    [
        pytest.param(0, "ok", id="every byte was read"),
        pytest.param(1, "incomplete", id="but one"),
        pytest.param(1_000, "incomplete", id="nine tenths were"),
        pytest.param(1_001, "corrupt", id="a little less"),
        pytest.param(8_000, "corrupt", id="a fifth was"),
        pytest.param(8_001, "failed", id="less than a fifth was"),
    ],
)
def test_health_is_what_the_look_at_the_image_has_found(engine: sa.Engine, bad: int, health: str) -> None:
    store_media(engine, medium(2))
    judge(engine, "imaged", "succeeded", evidence={"report": {"found": {"bytes": 10_000, "bad_bytes": bad}}})
    assert told(engine, "health") == health


def test_an_image_that_no_text_can_name_is_shown_all_the_same(engine: sa.Engine) -> None:
    store_media(engine, medium(image=b"/\xff"), medium(id_=OTHER, image=b""))
    shown = query(engine, "SELECT image_path FROM medium WHERE medium_hash LIKE '%0'")
    assert shown == [("/\\377" if engine.dialect.name == "postgresql" else b"/\xff",)]
    assert query(engine, "SELECT image_path FROM medium WHERE medium_hash LIKE '%f'") == [(None,)]


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """A medium of which files are copied, failed, excluded, changed and pending, beside what is no file."""
    store_media(engine, medium(2))
    gone = file(99, b"gone")
    store_entries(engine, gone, file(6, b"six"), attempt=1)
    store_entries(
        engine,
        file(1, b"one\n\xff", dev=5, nlink=2),
        file(1, b"also one", dev=5, nlink=2, excluded="pattern:3"),
        file(2, b"two"),
        file(3, b"three", excluded="pattern:1"),
        file(4, b"four", type="d"),
        file(5, b"five"),
        file(6, b"six", mtime=50),
        file(1, b"one", part=1, size=8),
        Problem(0, ProblemKind.FOLDER_UNREADABLE, "EIO"),
        attempt=2,
    )
    store_copies(
        engine,
        copied(1, 7, created=True),
        failed(2, 7, status=CopyStatus.PERMANENT, error=CopyError.IO, detail="EIO"),
        copied(6, 7, mtime=-6),
        failed(99, 7),
    )
    return engine


def test_inodes_are_those_of_the_newest_attempt_with_what_became_of_each(filled: sa.Engine) -> None:
    columns = "part, ino, fs_type, status, claimed_by, copied, blobid, copied_to, error_type"
    found = query(filled, f"SELECT {columns} FROM inode WHERE medium_hash = '{MEDIUM}' ORDER BY part, ino")
    assert [(*row[:5], bool(row[5]), *row[6:]) for row in found] == [
        (0, 1, "f", "success", None, True, BLOB, f"00/00/{BLOB}", None),
        (0, 2, "f", "failed_permanent", None, False, None, None, "io_error"),
        (0, 3, "f", "excluded", "EXCLUDED", False, None, None, None),
        (0, 4, "d", "non_file", "NON_FILE", False, None, None, None),
        (0, 5, "f", "pending", None, False, None, None, None),
        (0, 6, "f", "pending", None, False, None, None, None),
        (1, 1, "f", "pending", None, False, None, None, None),
    ]
    [(errors,)] = query(filled, "SELECT errors FROM inode WHERE ino = 2")
    assert (json.loads(errors) if isinstance(errors, str) else errors) == ["io_error: EIO"]
    pending = "SELECT ino FROM inode WHERE NOT copied AND claimed_by IS NULL AND status = 'pending' ORDER BY part, ino"
    assert query(filled, pending) == [(5,), (6,), (1,)]


def test_paths_are_bytes_and_blobs_know_how_many_have_them(filled: sa.Engine) -> None:
    found = query(filled, "SELECT dev, ino, path, blobid, exclude_reason FROM path WHERE part = 0 AND ino < 3")
    assert sorted((dev, ino, bytes(path), blobid, why) for dev, ino, path, blobid, why in found) == [
        (0, 2, b"two", None, None),
        (5, 1, b"also one", BLOB, "pattern:3"),
        (5, 1, b"one\n\xff", BLOB, None),
    ]
    assert query(filled, f"SELECT n_hardlinks, last_checked FROM blobs WHERE blobid = '{BLOB}'") == [(2, None)]
    assert told(filled, "problems") == {"dir_error": 1, "io_error": 1}


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_partition_of_one_medium_is_a_function(filled: sa.Engine) -> None:
    store_media(filled, medium(2, id_=OTHER))
    assert query(filled, f"SELECT count(*) FROM inode_p('{MEDIUM}')") == [(7,)]
    assert query(filled, f"SELECT count(*) FROM inode_p('{OTHER}')") == [(0,)]
    assert query(filled, f"SELECT count(*) FROM inode_p('{MEDIUM[:8]}')") == [(0,)]


@pytest.mark.parametrize("name", VIEWS)
def test_tables_of_ntt_beside_ours_are_never_touched(place: Settings, engine: sa.Engine, name: str) -> None:
    with engine.begin() as connection:
        command.downgrade(steps.config(connection), "0008")
        connection.execute(sa.text(f"CREATE TABLE {name} (medium_hash text)"))
    with pytest.raises(ForeignDatabaseError, match=f"holds {name}, which Tallystick didn't make.*Rename them"):
        migrate.upgrade(engine, place)
    assert migrate.current(engine) == "0008"
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {name}"))
    assert migrate.upgrade(engine, place) == migrate.HEAD


def test_a_database_of_ntt_alone_is_refused(place: Settings) -> None:
    engine = make_engine(place)
    with engine.begin() as connection:
        if place.database.schema_name:
            connection.execute(sa.schema.CreateSchema(place.database.schema_name))
        connection.execute(sa.text("CREATE TABLE inode (medium_hash text)"))
    with pytest.raises(ForeignDatabaseError, match="already holds inode"):
        migrate.upgrade(engine, place)
    engine.dispose()
