"""The audit names what does not hold by its code, and nothing else; on SQLite, without Kafka."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from sinks import schema
from sinks.media.audit.auditing import Audit
from sinks.media.audit.violations import MEANINGS, Code, Judged, Mend, Violation
from tallystick.database.engine import make_engine
from tallystick.errors import ServiceError
from tallystick.settings import DatabaseSettings, Settings
from tests.audit_world import MEDIUM, TIMES, Archive
from tests.bad_states import BAD_STATES, Spoil
from tests.sinks import ready

ANOTHER = "f" * 32


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "tally.db"
    ready(_settings(path)).dispose()
    return path


@pytest.fixture
def archive(migrated: Path, tmp_path: Path) -> Iterator[Archive]:
    """An archive with one complete medium."""
    engine = make_engine(_settings(Path(shutil.copy(migrated, tmp_path))))
    made = Archive(engine, tmp_path / "media")
    made.add_medium()
    yield made
    engine.dispose()


def _settings(database: Path) -> Settings:
    return Settings(home=database.parent, database=DatabaseSettings(url=SecretStr(f"sqlite:///{database}")))


def test_where_everything_holds_nothing_is_found(archive: Archive) -> None:
    audit = archive.audit()
    [judged] = audit.run()
    assert (judged.standing, judged.medium) == ("COMPLETE", MEDIUM)  # type: ignore[union-attr]
    assert (audit.looked.media, audit.looked.blobs, audit.looked.files, audit.looked.said) == (1, 2, 2, 1)


@pytest.mark.parametrize(("code", "spoil"), BAD_STATES, ids=[f"{code}: {f.__name__}" for code, f in BAD_STATES])
def test_a_bad_state_is_named_by_its_code_alone(archive: Archive, code: str, spoil: Spoil) -> None:
    archive.add_medium(ANOTHER, name="another", files={b"x": b"other"})
    spoil(archive)
    [violation] = archive.violations()
    assert (violation.code, violation.medium == ANOTHER) == (code, False)


def test_the_set_covers_every_invariant() -> None:
    assert {code for code, _ in BAD_STATES} == set(Code) == set(MEANINGS)


def _gone(archive: Archive) -> None:
    archive.archive().unlink()
    archive.forget_stage("archived")


def nothing_was_done(archive: Archive) -> None:
    """Complete."""


def no_verdict_on_the_copy(archive: Archive) -> None:
    archive.forget_stage("copied")


def no_archive(archive: Archive) -> None:
    _gone(archive)


def a_file_without_a_word(archive: Archive) -> None:
    archive.add_inode(MEDIUM, 50, "f", b"new", size=1)


def a_file_whose_paths_are_all_excluded(archive: Archive) -> None:
    archive.add_inode(MEDIUM, 50, "f", b"cache/x", excluded="pattern:3")


def a_file_with_one_path_that_is_not_excluded(archive: Archive) -> None:
    archive.add_inode(MEDIUM, 50, "f", b"cache/x", excluded="pattern:3")
    archive.add_path(MEDIUM, 50, b"docs/x")


def a_folder_and_a_fifo(archive: Archive) -> None:
    archive.add_inode(MEDIUM, 50, "d", b"empty")
    archive.add_inode(MEDIUM, 51, "p", b"fifo")


def a_file_that_failed(archive: Archive) -> None:
    copies = schema.media_copies
    archive.change(copies.update().where(copies.c.ino == 3).values(status="failed_permanent", blobid=None))


def a_file_that_failed_and_that_was_accepted(archive: Archive) -> None:
    a_file_that_failed(archive)
    archive.change(schema.media.update().values(acknowledged="the disk is scratched"))


def a_content_that_is_missing(archive: Archive) -> None:
    archive.blob(b"alpha").unlink()


def no_row_at_all(archive: Archive) -> None:
    for table in (schema.media_copies, schema.media_paths, schema.media_inodes):
        archive.change(table.delete())


def an_empty_file_system(archive: Archive) -> None:
    no_row_at_all(archive)
    stages = schema.source_stages
    archive.change(stages.update().values(evidence={"claim": {"counts": {"records": 0}}}))


CLASSES = [
    ("COMPLETE", nothing_was_done),
    ("TIMESTAMPS_ONLY", no_verdict_on_the_copy),
    ("NOT_ARCHIVED", no_archive),
    ("FILES_MISSING_BLOBS", a_file_without_a_word),
    ("COMPLETE", a_file_whose_paths_are_all_excluded),
    ("FILES_MISSING_BLOBS", a_file_with_one_path_that_is_not_excluded),
    ("COMPLETE", a_folder_and_a_fifo),
    ("FILES_MISSING_BLOBS", a_file_that_failed),
    ("COMPLETE", a_file_that_failed_and_that_was_accepted),
    ("FILES_MISSING_BLOBS", a_content_that_is_missing),
    ("NO_INODES", no_row_at_all),
    ("COMPLETE", an_empty_file_system),
]


@pytest.mark.parametrize(("standing", "change"), CLASSES, ids=[f"{change.__name__}: {c}" for c, change in CLASSES])
def test_a_medium_has_the_class_that_is_there(archive: Archive, standing: str, change: Spoil) -> None:
    change(archive)
    assert archive.standing() == standing


OLD = "00000000000000000000000000000abc"
NTT = {"enum_done": TIMES["loaded"], "copy_done": TIMES["copied"]}


def imported(archive: Archive, *, counts: dict[str, int] | None = None, **said: str) -> None:
    """A medium that another program has archived, of which it said so."""
    archive.add_medium(OLD, files={b"old": b"content"})
    archive.forget_source(OLD)
    archive.add_import(OLD, **({**NTT, **said}), counts={"paths": 3} if counts is None else counts)


def test_an_import_whose_claims_are_true_is_complete(archive: Archive) -> None:
    imported(archive)
    assert archive.codes() == []
    assert archive.standing(OLD) == "COMPLETE"


def test_3_an_import_that_is_only_not_said_to_be_done_is_timestamps_only(archive: Archive) -> None:
    """Fault 3: exit 0, all rows there, timestamps missing."""
    imported(archive, enum_done="", copy_done="")
    archive.archive(OLD).unlink()
    assert archive.codes() == []
    assert archive.standing(OLD) == "TIMESTAMPS_ONLY"


def test_4_a_timestamp_that_was_set_by_hand_is_named(archive: Archive) -> None:
    """Fault 4."""
    imported(archive, counts={})
    for table in (schema.media_copies, schema.media_paths, schema.media_inodes):
        archive.change(table.delete().where(table.c.medium == OLD))
    archive.listing(OLD).unlink()
    assert archive.codes() == ["I4"]
    assert archive.standing(OLD) == "NO_INODES"


def test_an_import_that_was_said_to_be_copied_and_has_files_without_blobs_is_named(archive: Archive) -> None:
    imported(archive, counts={"paths": 4})
    archive.add_inode(OLD, 60, "f", b"never copied", size=9)
    archive.listing(OLD).unlink()
    assert archive.codes() == ["I9"]
    assert archive.standing(OLD) == "FILES_MISSING_BLOBS"


def test_an_import_with_fewer_rows_than_the_other_program_has_is_named(archive: Archive) -> None:
    imported(archive, counts={"paths": 5})
    assert archive.codes() == ["I4"]


def test_what_others_said_no_longer_counts_once_a_stage_of_ours_has(archive: Archive) -> None:
    imported(archive, enum_done="", copy_done="")
    archive.add_source(OLD, "image", records=3)
    assert archive.standing(OLD) == "COMPLETE"


def test_only_the_media_that_were_asked_for_are_looked_at(archive: Archive) -> None:
    archive.add_medium(ANOTHER, files={b"x": b"other"})
    archive.blob(b"other").unlink()
    archive.store(b"an orphan")
    audit = archive.audit([MEDIUM])
    assert [finding.medium for finding in audit.run()] == [MEDIUM]
    assert (audit.looked.media, audit.looked.blobs, audit.looked.files) == (1, 2, 0)


def test_23_media_are_told_apart_although_their_ids_begin_alike(archive: Archive) -> None:
    """Fault 23; and the mistake of the first diagnosis, which looked for tables by a pattern."""
    alike = MEDIUM[:8] + "f" * 24
    archive.add_medium(alike, files={b"x": b"other"})
    archive.change(schema.media_paths.delete().where(schema.media_paths.c.medium == alike))
    assert {violation.medium for violation in archive.violations()} == {alike}
    assert archive.standing() == "COMPLETE"


def test_a_bad_blob_counts_for_every_medium_that_needs_it(archive: Archive) -> None:
    archive.add_medium(ANOTHER, files={b"x": b"alpha"})
    archive.blob(b"alpha").unlink()
    [violation] = archive.violations()
    assert "3 files of 2 media" in violation.what
    assert archive.standing() == archive.standing(ANOTHER) == "FILES_MISSING_BLOBS"


def test_a_store_that_is_not_mounted_is_no_list_of_missing_blobs(archive: Archive) -> None:
    """Fault 58."""
    archive.places.store.rename(archive.root / "elsewhere")
    with pytest.raises(ServiceError, match="mount it"):
        archive.findings()


def test_files_without_a_row_are_not_judged_while_media_are_copied(archive: Archive) -> None:
    archive.store(b"just published")
    archive.put(
        schema.media_leases, medium=MEDIUM, what="copied", run=3, holder="me", expires_at="9999-01-01T00:00:00.000000Z"
    )
    audit = archive.audit()
    assert [type(finding) for finding in audit.run()] == [Judged]
    assert audit.looked.unjudged


def test_a_stage_that_never_began_is_no_copy_that_is_under_way(archive: Archive) -> None:
    """A medium whose enumeration failed would else keep the store from being judged for ever."""
    stages = schema.source_stages
    for stage in ("loaded", "copied", "archived"):
        archive.forget_stage(stage)
    archive.change(stages.update().where(stages.c.verdict.is_(None)).values(started_at=None))
    archive.archive().unlink()
    archive.store(b"an orphan")
    assert archive.codes() == ["I8"]


def test_a_verdict_that_is_on_its_way_to_the_database_is_waited_for(archive: Archive) -> None:
    stages = schema.source_stages
    late = stages.update().where(stages.c.stage == "archived")
    archive.change(late.values(verdict=None))
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        archive.change(late.values(verdict="succeeded"))

    audit = Audit(archive.engine, archive.places, read_log=lambda: archive.said, settle_seconds=60.0, sleep=sleep)
    assert [finding for finding in audit.run() if isinstance(finding, Violation)] == []
    assert len(waited) == 1


def test_what_a_person_must_decide_is_not_offered_to_be_mended(archive: Archive) -> None:
    a_file_without_a_word(archive)
    assert [violation.mend for violation in archive.violations()] == [Mend.INGEST, Mend.INGEST]
    archive.image().unlink()
    assert {violation.mend for violation in archive.violations()} == {Mend.PERSON}
