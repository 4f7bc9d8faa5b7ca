"""The conformance set of the audit: a state for each invariant in which that one, and no other, does not hold."""

from collections.abc import Callable

from sinks import schema
from sinks.media.audit.log import Said
from tests.audit_world import MEDIUM, ZSTD, Archive, digest

STRANGER = "00000000000000000000000000000bad"
Spoil = Callable[[Archive], None]


def archived_although_the_copy_has_no_verdict(archive: Archive) -> None:
    archive.forget_stage("copied")


def an_archive_of_a_medium_that_nobody_knows(archive: Archive) -> None:
    archive.archive(STRANGER).write_bytes(ZSTD)


def copied_although_loading_has_no_verdict(archive: Archive) -> None:
    archive.forget_stage("loaded")


def copied_before_it_was_loaded(archive: Archive) -> None:
    stages = schema.source_stages
    archive.change(
        stages.update()
        .where(stages.c.source_id == MEDIUM, stages.c.stage == "loaded")
        .values(ended_at="2026-01-01T00:03:30.000000Z")
    )


def loaded_by_the_verdict_but_without_a_row(archive: Archive) -> None:
    for table in (schema.media_copies, schema.media_paths, schema.media_inodes):
        archive.change(table.delete().where(table.c.medium == MEDIUM))


def loaded_but_a_folder_is_missing(archive: Archive) -> None:
    for table in (schema.media_paths, schema.media_inodes):
        archive.change(table.delete().where(table.c.medium == MEDIUM, table.c.ino == 2))


def a_listing_of_more_records_than_rows(archive: Archive) -> None:
    with archive.listing().open("ab") as listing:
        listing.write(b"f\x1c1\x1c99\x1c1\x1c0\x1c0\x1ca line\nand another\0")


def copied_into_a_blob_without_a_row(archive: Archive) -> None:
    blobs = schema.media_blobs
    archive.change(blobs.delete().where(blobs.c.blobid == digest(b"beta")))
    archive.blob(b"beta").unlink()


def a_blob_whose_file_is_missing(archive: Archive) -> None:
    archive.blob(b"alpha").unlink()


def a_file_that_is_shorter_than_its_blob(archive: Archive) -> None:
    archive.blob(b"beta").write_bytes(b"bet")


def a_file_of_the_store_that_nobody_knows(archive: Archive) -> None:
    archive.store(b"an orphan")


def something_among_the_blobs_that_is_none(archive: Archive) -> None:
    (archive.places.store / "ab").mkdir(exist_ok=True)
    (archive.places.store / "ab" / "README").write_bytes(b"?")


def copied_by_the_verdict_but_a_file_has_no_row(archive: Archive) -> None:
    copies = schema.media_copies
    archive.change(copies.delete().where(copies.c.medium == MEDIUM, copies.c.path == b"docs/a.txt"))


def a_listing_of_a_medium_that_nobody_knows(archive: Archive) -> None:
    archive.listing(STRANGER).write_bytes(b"f\x1c1\x1c1\x1c1\x1c0\x1c0\x1cx\0")


def a_listing_of_a_medium_that_was_never_loaded(archive: Archive) -> None:
    loaded_by_the_verdict_but_without_a_row(archive)
    archive.archive().unlink()
    archive.forget_source()


def image_gone_and_not_archived(archive: Archive) -> None:
    archive.forget_stage("archived")
    archive.archive().unlink()
    archive.image().unlink()


def image_gone_and_the_archive_has_no_verdict(archive: Archive) -> None:
    archive.forget_stage("archived")
    archive.image().unlink()


def archived_by_the_verdict_but_the_archive_is_gone(archive: Archive) -> None:
    archive.archive().unlink()


def archived_by_the_verdict_but_the_archive_is_another_file(archive: Archive) -> None:
    archive.archive().write_bytes(b"no zstd")


def a_verdict_by_hand_that_the_log_does_not_have(archive: Archive) -> None:
    said = archive.said[MEDIUM]
    archive.said[MEDIUM] = Said(said.attempt, said.succeeded - {"archived"})


def a_verdict_that_only_the_log_has(archive: Archive) -> None:
    stages = schema.source_stages
    archive.change(
        stages.update().where(stages.c.source_id == MEDIUM, stages.c.stage == "enumerated").values(verdict=None)
    )


def a_medium_that_only_the_log_has(archive: Archive) -> None:
    archive.said[STRANGER] = Said(1, frozenset({"identified"}))


BAD_STATES: list[tuple[str, Spoil]] = [
    ("I1", archived_although_the_copy_has_no_verdict),
    ("I1", an_archive_of_a_medium_that_nobody_knows),
    ("I2", copied_although_loading_has_no_verdict),
    ("I3", copied_before_it_was_loaded),
    ("I4", loaded_by_the_verdict_but_without_a_row),
    ("I4", loaded_but_a_folder_is_missing),
    ("I4", a_listing_of_more_records_than_rows),
    ("I5", copied_into_a_blob_without_a_row),
    ("I6", a_blob_whose_file_is_missing),
    ("I7", a_file_that_is_shorter_than_its_blob),
    ("I8", a_file_of_the_store_that_nobody_knows),
    ("I8", something_among_the_blobs_that_is_none),
    ("I9", copied_by_the_verdict_but_a_file_has_no_row),
    ("I10", a_listing_of_a_medium_that_nobody_knows),
    ("I10", a_listing_of_a_medium_that_was_never_loaded),
    ("I11", image_gone_and_not_archived),
    ("I11", image_gone_and_the_archive_has_no_verdict),
    ("I11", archived_by_the_verdict_but_the_archive_is_gone),
    ("I11", archived_by_the_verdict_but_the_archive_is_another_file),
    ("I12", a_verdict_by_hand_that_the_log_does_not_have),
    ("I12", a_verdict_that_only_the_log_has),
    ("I12", a_medium_that_only_the_log_has),
]
"""Each code, and how a sound archive gets there."""
