"""`tally media import-ntt` on a real PostgreSQL with tables as ntt leaves them, and what the audit says of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from producers.media.ntt.bringing import Bringing, Brought
from producers.media.ntt.database import NttDatabase
from sinks import schema
from sinks.media.audit.contents import EMPTY_SHA256
from tallystick.cli.media.import_ntt import store_all
from tallystick.errors import UsageError
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tallystick.storage.store import Store
from tests.audit_world import Archive
from tests.ntt_world import FORMS, Ntt, ntt
from tests.sinks import query, ready
from tests.support import environment, tally_json

DONE, UNSAID, LOST, EMPTY = "d" * 32, "a" * 32, "d" * 8 + "e" * 24, "b" * 32
AT = "2025-10-01 12:00:00+02"
ALPHA = blake3(b"alpha").hexdigest()


@pytest.fixture
def archive(settings: Settings) -> Iterator[Archive]:
    engine = ready(settings)
    yield Archive(engine, settings.home / "media")
    engine.dispose()


def fill(old: Ntt, archive: Archive) -> None:
    """Four media: done and true; done, but never said; said to be done, but files lack blobs; nothing loaded."""
    for medium, done in ((DONE, AT), (UNSAID, None), (LOST, AT)):
        image = archive.image(medium)
        image.write_bytes(b"image")
        old.add_medium(
            medium,
            medium_human=f"disk {medium[:2]}",
            image_path=str(image),
            enum_done=done,
            copy_done=done,
            health="ok",
        )
        root = b"/mnt/ntt/" + medium.encode()
        old.add_file(medium, 2, root, fs_type="d")
        old.add_file(medium, 3, root + b"/docs", fs_type="d")
        old.add_file(medium, 4, root + b"/docs/a\n\xff", root + b"/again", size=5, blobid=ALPHA)
        old.add_file(medium, 5, root + b"/empty", size=0, blobid=EMPTY_SHA256)
        old.add_file(medium, 6, root + b"/cache/x", size=9, exclude_reason="pattern_match")
        archive.archive(medium).write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
    old.add_file(LOST, 7, b"/mnt/ntt/" + LOST.encode() + b"/never", size=3)
    old.add_medium(EMPTY, image_path=str(archive.image(EMPTY)))
    archive.image(EMPTY).write_bytes(b"image")
    archive.store(b"alpha")
    archive.store(b"", name=EMPTY_SHA256)


def bring(old: Ntt, settings: Settings, archive: Archive) -> list[Brought]:
    """Import, as the command does, in this process."""
    database = NttDatabase(old.url)
    database.require()
    publisher = Publisher(settings, client_id="test")
    work = Bringing(settings, publisher, database, store=Store(archive.places.store), listings=archive.places.listings)
    brought = list(work.run())
    store_all(settings, archive.engine, work.ends)
    database.close()
    return brought


@pytest.mark.parametrize("form", FORMS)
def test_media_of_every_form_come_over_and_are_judged(archive: Archive, settings: Settings, form: str) -> None:
    with ntt(settings, form) as old:
        fill(old, archive)
        brought = bring(old, settings, archive)
    assert {one.medium: one.counts for one in brought}[DONE] == {
        "paths": 6,
        "inodes": 5,
        "files": 3,
        "blobs": 2,
        "copied": 2,
        "failed": 0,
        "incomplete": 0,
    }
    paths = query(
        archive.engine, f"SELECT path, ino, part, excluded FROM media_paths WHERE medium = '{DONE}' ORDER BY path"
    )
    assert [(bytes(path), *rest) for path, *rest in paths] == [
        (b".", 2, 0, ""),
        (b"again", 4, 0, ""),
        (b"cache/x", 6, 0, "ntt:pattern_match"),
        (b"docs", 3, 0, ""),
        (b"docs/a\n\xff", 4, 0, ""),
        (b"empty", 5, 0, ""),
    ]
    standings = {one.medium: one.standing for one in archive.findings() if hasattr(one, "standing")}
    assert standings == {
        DONE: "COMPLETE",
        UNSAID: "TIMESTAMPS_ONLY",
        LOST: "FILES_MISSING_BLOBS",
        EMPTY: "NO_INODES",
    }
    assert sorted((found.code.value, found.medium) for found in archive.violations()) == [
        ("I1", UNSAID),
        ("I9", LOST),
    ]


def test_what_is_not_in_the_store_is_not_copied_whatever_ntt_says(archive: Archive, settings: Settings) -> None:
    with ntt(settings, "partitioned") as old:
        fill(old, archive)
        archive.blob(b"alpha").write_bytes(b"alph")
        bring(old, settings, archive)
    copies = query(archive.engine, f"SELECT ino, status, blobid FROM media_copies WHERE medium = '{DONE}'")
    assert copies == [(5, "success", EMPTY_SHA256)]
    assert ("I9", DONE) in {(found.code.value, found.medium) for found in archive.violations()}


def test_what_ntt_gave_up_is_a_failure_and_no_file_without_a_word(archive: Archive, settings: Settings) -> None:
    with ntt(settings, "partitioned") as old:
        old.add_medium(DONE, enum_done=AT, copy_done=AT)
        old.add_file(DONE, 4, b"/m/a", size=1, status="failed_permanent", error_type="io_error")
        old.add_file(DONE, 5, b"/m/b", size=1, claimed_by="MAX_RETRIES_EXCEEDED")
        old.add_file(DONE, 6, b"/m/c", size=1, blobid="not a digest")
        bring(old, settings, archive)
    found = query(archive.engine, "SELECT ino, status, error FROM media_copies ORDER BY ino")
    assert found == [
        (4, "failed_permanent", "io_error"),
        (5, "failed_permanent", "unknown"),
        (6, "failed_permanent", "hash_error"),
    ]


def test_halves_of_ntts_tables_are_problems_and_nothing_is_lost(archive: Archive, settings: Settings) -> None:
    with ntt(settings, "partitioned") as old:
        old.add_medium(DONE)
        old.add_file(DONE, 4, size=1)
        old.run("INSERT INTO path (medium_hash, dev, ino, path) VALUES (:medium, 7, 99, '/m/orphan')", {"medium": DONE})
        [brought] = bring(old, settings, archive)
    assert brought.counts["incomplete"] == 2
    assert query(archive.engine, "SELECT kind, ino FROM media_problems ORDER BY ino") == [
        ("unreachable_inode", 4),
        ("stat_error", 99),
    ]


def test_a_medium_without_a_usable_hash_becomes_a_letter_and_the_others_come_over(
    archive: Archive, settings: Settings
) -> None:
    """Fault 26: a medium with an empty hash was real."""
    with ntt(settings, "flat") as old:
        old.add_medium("", medium_human="identified by nobody")
        old.add_file("", 4, b"/m/a", size=1)
        old.add_medium("ABCDEF" + "0" * 26)
        old.add_medium(DONE)
        brought = bring(old, settings, archive)
    assert [(one.medium, bool(one.refused)) for one in brought] == [
        ("", True),
        ("ABCDEF" + "0" * 26, True),
        (DONE, False),
    ]
    letters = query(archive.engine, "SELECT reason, payload FROM dead_letter_events ORDER BY source_offset")
    assert [reason for reason, _ in letters] == ["not the hash of a medium"] * 2
    assert b'"paths":1' in bytes(letters[0][1])
    assert b"identified by nobody" in bytes(letters[0][1])
    assert query(archive.engine, "SELECT medium FROM media") == [(DONE,)]


def test_an_import_can_be_repeated_and_never_outweighs_what_was_found_here(
    archive: Archive, settings: Settings
) -> None:
    with ntt(settings, "partitioned") as old:
        fill(old, archive)
        bring(old, settings, archive)
        archive.change(
            schema.media_copies.update().where(schema.media_copies.c.ino == 4).values(revision=9, detail="ours")
        )
        old.run("UPDATE medium SET message = 'found in a drawer'")
        before = query(archive.engine, "SELECT count(*) FROM media_paths")
        bring(old, settings, archive)
    assert query(archive.engine, "SELECT count(*) FROM media_paths") == before
    assert query(archive.engine, "SELECT DISTINCT message FROM media") == [("found in a drawer",)]
    assert query(archive.engine, "SELECT DISTINCT detail FROM media_copies WHERE ino = 4") == [("ours",)]


def test_the_command_imports_what_the_variables_of_ntt_name(
    archive: Archive, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with ntt(settings, "partitions") as old:
        fill(old, archive)
        (tmp_path / f"{DONE}.raw").write_bytes(b"x\0" * 7)
        monkeypatch.setenv("NTT_DB_URL", old.url)
        monkeypatch.setenv("NTT_RAW_ROOT", str(tmp_path))
        assert "NTT_DB_URL" in environment(settings)
        found = tally_json(settings, "media", "import-ntt", "--json")
    assert {one["medium"]: one["paths"] for one in found} == {DONE: 6, UNSAID: 6, LOST: 7, EMPTY: 0}
    codes = {(one["code"], one.get("medium")) for one in tally_json(settings, "media", "audit", "--json")["violations"]}
    assert codes == {("I1", UNSAID), ("I9", LOST), ("I4", DONE)}
    shown = tally_json(settings, "media", "show", DONE, "--json")
    [run] = [one for one in shown["history"] if one["event"] == "run ended"]
    assert (run["stage"], run["who"]) == ("imported", "tally media import-ntt")
    assert "enum_done: 2025-10-01T10:00:00.000000Z" in run["detail"]


def test_a_database_of_something_else_is_refused(archive: Archive, settings: Settings) -> None:
    del archive
    with ntt(settings, "flat") as old:
        old.run("DROP TABLE paths")
        with pytest.raises(UsageError, match="no database of ntt"):
            NttDatabase(old.url).require()
    with pytest.raises(UsageError, match="PostgreSQL"):
        NttDatabase("sqlite:///x")
