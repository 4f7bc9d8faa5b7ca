"""What becomes of media where something goes wrong between, before and in their stages.

The numbers are those of the faults in docs/reference/media-faults.md. All tests share one pipeline.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from producers.media.identifying import look_at
from tallystick.cli.media import stages
from tallystick.contracts import listings
from tallystick.contracts.media import ARCHIVED, COPIED, ENUMERATED, LOADED, ExitCode, Found
from tallystick.contracts.stages import Verdict, decode_command
from tallystick.contracts.topics import STAGE_COMMANDS
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.groups import Group
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tallystick.storage.store import Store
from tests.media_dumps import dump
from tests.media_fixtures import unpack
from tests.media_world import (
    HOSTILE,
    RULES,
    Argv,
    World,
    dying_at,
    plant,
    plant_wild,
    reason,
    unheard,
    verdicts,
    world_of,
)
from tests.plugins.services import apart
from tests.support import eventually

FIRST, SECOND = "da69350a" + "0" * 24, "da69350a" + "f" * 24
"""Two media whose ids begin alike."""


@pytest.fixture(scope="module")
def world(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The pipeline of all tests of this module."""
    home = tmp_path_factory.mktemp("faults") / "home"
    with apart(servers, home=home) as settings, world_of(settings, rules=RULES) as world:
        yield world


@pytest.fixture(scope="module")
def killed(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A folder of all that is unusual, whose stages were killed again and again, and came to their end."""
    root = plant_wild(tmp_path_factory.mktemp("killed") / "tree", "killed").resolve()
    world.before(root, ENUMERATED, unheard)
    world.before(root, COPIED, dying_at("store.half-written:2"), dying_at("store.linked:3"))
    world.before(root, ARCHIVED, dying_at("archive.half-written"), dying_at("archive.named"))
    found = world.ingest(root)
    assert found.succeeded, found.trouble
    return found.source, root


# --- killed at any point ---


def test_8_9_10_29_stages_that_were_killed_end_in_what_undisturbed_ones_do(
    world: World, killed: tuple[str, Path], tmp_path: Path
) -> None:
    medium, root = killed
    calm = plant_wild(tmp_path / "tree", "killed").resolve()
    found = world.ingest(calm)
    assert found.succeeded, found.trouble
    assert dump(world.settings, world.line.engine, medium, root) == dump(
        world.settings, world.line.engine, found.source, calm
    )


@pytest.mark.parametrize(
    ("stage", "codes"),
    [
        pytest.param(ENUMERATED, [-9, 0], id="10 after all was sent, before anybody heard of it"),
        pytest.param(COPIED, [-9, -9, 0], id="8 and 9 with half a content written, and after a link"),
        pytest.param(ARCHIVED, [-9, -9, 0], id="29 with half an archive written, and after it got its name"),
    ],
)
def test_each_death_is_a_run_that_is_told_with_its_signal(
    world: World, killed: tuple[str, Path], stage: str, codes: list[int]
) -> None:
    medium, _ = killed
    assert [code for code, _ in world.runs(medium, stage, count=len(codes))] == codes


def test_9_10_nothing_is_counted_twice_though_it_was_sent_twice(world: World, killed: tuple[str, Path]) -> None:
    medium, _ = killed
    assert world.query("SELECT count(*) FROM media_paths WHERE medium = :m", m=medium) == [(17,)]
    assert world.query(
        "SELECT inserted, dead FROM sink_counters WHERE sink = 'media_inodes' AND source_id = :m AND inserted > 0",
        m=medium,
    ) == [(17, 0)]


def test_commands_that_come_once_more_are_answered_and_nothing_is_done_again(
    world: World, killed: tuple[str, Path]
) -> None:
    medium, _ = killed
    topic = world.settings.kafka.topic(STAGE_COMMANDS)
    values = [message.value() or b"" for message in read_whole(world.settings, topic, client_id="test")]
    commands = [value for value in values if decode_command(value).source == medium]
    looks = sum(decode_command(value).look for value in commands)
    assert looks >= len((ENUMERATED, LOADED, COPIED, ARCHIVED))

    def revision() -> int:
        ((found,),) = world.query("SELECT revision FROM sources WHERE source_id = :m", m=medium)
        return int(str(found))

    def seen() -> list[object]:
        standing = world.line.standing(medium)
        runs = world.query("SELECT stage, run, exit_code, revision FROM media_runs WHERE medium = :m", m=medium)
        return [standing and standing.stages, *sorted(runs, key=str), *_rows(world, medium)]

    before, answered = seen(), revision() + looks
    publisher = Publisher(world.settings, client_id="test")
    for value in commands:
        publisher.send(topic, key=medium.encode(), value=value)
    publisher.flush()
    eventually(revision, until=lambda now: now >= answered)
    worker = Group(world.settings, "media-worker", STAGE_COMMANDS)
    eventually(worker.behind, until=lambda behind: not behind)
    assert seen() == before


def test_11_a_load_that_dies_before_it_commits_has_loaded_nothing_and_is_done_again(
    world: World, tmp_path: Path
) -> None:
    root = plant(tmp_path / "tree", "uncommitted")
    medium = look_at(str(root)).medium
    waiting = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'media_paths'::regclass"
    with world.line.engine.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE media_paths IN EXCLUSIVE MODE")
        outcome = world.line.begin(root, until=LOADED)
        ((pid,), *_) = eventually(lambda: world.query(waiting), seconds=300)
        assert world.query("SELECT count(*) FROM media_inodes WHERE medium = :m", m=medium) == [(0,)]
        world.query("SELECT pg_terminate_backend(:pid)", pid=pid)
    found = world.line.wait(outcome, seconds=300)
    assert verdicts(found)[LOADED] is Verdict.SUCCEEDED
    assert world.query(
        "SELECT inserted, present FROM sink_counters WHERE sink = 'media_inodes' AND source_id = :m AND inserted > 0",
        m=medium,
    ) == [(6, 0)]


# --- what lies on a medium ---


def test_17_names_are_kept_byte_by_byte(world: World, killed: tuple[str, Path]) -> None:
    medium, root = killed
    rows = world.query("SELECT path FROM media_paths WHERE medium = :m", m=medium)
    paths = {bytes(path) for (path,) in rows}  # type: ignore[call-overload]
    assert set(HOSTILE) <= paths
    assert all(os.path.lexists(os.path.join(bytes(root), path)) for path in paths)  # noqa: PTH118 - bytes
    raw = (world.settings.media_listings / f"{medium}.raw").read_bytes()
    assert raw.count(b"\0") == len(paths)


def test_52_what_is_no_file_is_recorded_and_never_opened(world: World, killed: tuple[str, Path]) -> None:
    medium, _ = killed
    assert world.query(
        "SELECT type, count(*) FROM media_inodes WHERE medium = :m AND type NOT IN ('f', 'd') GROUP BY 1 ORDER BY 1",
        m=medium,
    ) == [("l", 2), ("p", 1), ("s", 1)]
    assert world.query(
        "SELECT count(*) FROM media_copies JOIN media_inodes USING (medium, part, ino)"
        " WHERE medium = :m AND type <> 'f'",
        m=medium,
    ) == [(0,)]


def test_54_a_file_is_left_out_only_where_all_its_paths_are(world: World, killed: tuple[str, Path]) -> None:
    medium, _ = killed
    assert world.query(
        "SELECT convert_from(p.path, 'UTF8'), p.excluded, c.status FROM media_paths p"
        " LEFT JOIN media_copies c USING (medium, part, ino)"
        " WHERE medium = :m AND p.path LIKE '%/%' ORDER BY 1",
        m=medium,
    ) == [
        ("cache/both", "pattern:caches", "success"),
        ("cache/only", "pattern:caches", None),
        ("kept/both", "", "success"),
    ]


# --- the same again ---


@pytest.fixture(scope="module")
def listed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A listing that was ingested, of files that are there."""
    folder = tmp_path_factory.mktemp("listed")
    plant(folder / "tree", "listed", files=3)
    listing = folder / f"{FIRST}.raw"
    listing.write_bytes(b"".join(_record(path) for path in (folder / "tree").iterdir()))
    found = world.ingest(listing, until=COPIED)
    assert verdicts(found)[COPIED] is Verdict.SUCCEEDED, found.trouble
    return listing


def _record(path: Path, **more: object) -> bytes:
    found = path.lstat()
    fields = {
        "part": 0,
        "dev": found.st_dev,
        "ino": found.st_ino,
        "type": "f",
        "path": bytes(path)[1:],
        "nlink": found.st_nlink,
        "size": found.st_size,
        "mtime": int(found.st_mtime),
    }
    return listings.encode(Found(**(fields | more)), mount=b"/")  # type: ignore[arg-type]


def _rows(world: World, medium: str) -> list[tuple[object, ...]]:
    return world.query(
        "SELECT p.path, p.ino, c.blobid, c.revision FROM media_paths p"
        " LEFT JOIN media_copies c USING (medium, part, ino) WHERE medium = :m ORDER BY 1",
        m=medium,
    )


def test_12_24_what_is_done_is_looked_at_again_and_not_done_again(world: World, listed: Path) -> None:
    before = _rows(world, FIRST)
    found = world.ingest(listed, until=COPIED, message="inserted again")
    assert set(verdicts(found).values()) == {Verdict.SUCCEEDED}
    assert found.attempt == 2
    assert _rows(world, FIRST) == before, "and nothing was copied by another run"
    assert world.query("SELECT message FROM media WHERE medium = :m", m=FIRST) == [("inserted again",)]


def test_13_another_listing_of_a_medium_that_was_loaded_is_refused(world: World, listed: Path, tmp_path: Path) -> None:
    before = _rows(world, FIRST)
    other = tmp_path / listed.name
    other.write_bytes(listed.read_bytes().split(b"\0")[0] + b"\0")
    outcome = world.line.begin(other)
    assert not outcome.claimed
    assert outcome.reason.startswith("identity_conflict")
    assert _rows(world, FIRST) == before


def test_23_media_whose_ids_begin_alike_are_loaded_apart(world: World, listed: Path, tmp_path: Path) -> None:
    before = _rows(world, FIRST)
    other = tmp_path / f"{SECOND}.raw"
    other.write_bytes(_record(plant(tmp_path / "tree", "second", files=1) / "file0"))
    assert verdicts(world.ingest(other, until=LOADED))[LOADED] is Verdict.SUCCEEDED
    assert len(_rows(world, SECOND)) == 1
    assert _rows(world, FIRST) == before


def test_25_media_that_begin_and_end_alike_are_not_taken_for_one(world: World, tmp_path: Path) -> None:
    size = 3 << 20
    for name, middle in (("one.img", b"a"), ("two.img", b"b")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
            file.seek(size // 2)
            file.write(middle)
    assert world.line.begin(tmp_path / "one.img", until="identified").claimed
    outcome = world.line.begin(tmp_path / "two.img", until="identified")
    assert not outcome.claimed
    assert outcome.reason.startswith("identity_conflict")


# --- what a stage stands on is not there, or is another ---


def _archived_by_hand(world: World, medium: str, attempt: int) -> int | None:
    """Run the archive's stage although nothing commands it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "_WAIT_SECONDS", 0.0)
        return stages.run_stage(world.settings, ARCHIVED, medium=medium, attempt=attempt, run=1, stop=lambda: False)


def test_55_work_for_an_attempt_that_was_overtaken_ends_without_waiting(
    world: World, killed: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    medium, _ = killed
    monkeypatch.setattr(stages, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: pytest.fail("waits")))
    code = stages.run_stage(world.settings, COPIED, medium=medium, attempt=0, run=1, stop=lambda: False)
    assert code == ExitCode.PRECONDITION


def test_19_27_rows_that_are_gone_are_not_nothing_to_do(world: World, tmp_path: Path) -> None:
    root = plant(tmp_path / "tree", "dropped")
    medium = look_at(str(root)).medium

    def drop(_argv: Argv) -> None:
        with world.line.engine.begin() as connection:
            for table in ("media_paths", "media_inodes"):
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE medium = '{medium}'")

    world.before(root, COPIED, drop)
    found = world.ingest(root)
    assert verdicts(found)[COPIED] is Verdict.FAILED
    assert world.runs(medium, COPIED)[0][0] == ExitCode.PRECONDITION
    assert "the database holds 0 records" in reason(found, COPIED)
    assert _archived_by_hand(world, medium, found.attempt) == ExitCode.PRECONDITION
    assert not (world.settings.media_archives / f"{medium}.tar.zst").exists()


def test_35_an_image_that_was_replaced_meanwhile_is_not_the_medium(world: World, tmp_path: Path) -> None:
    image = unpack("fat12.img", tmp_path)
    world.before(image, ENUMERATED, lambda _argv: os.truncate(image, 100_000))
    found = world.ingest(image)
    assert verdicts(found)[ENUMERATED] is Verdict.FAILED
    assert world.runs(found.source, ENUMERATED)[0][0] == ExitCode.PRECONDITION
    assert _rows(world, found.source) == []


def test_35_where_most_files_fail_the_medium_has_failed(world: World, tmp_path: Path) -> None:
    root = plant(tmp_path / "tree", "all change")

    def change(_argv: Argv) -> None:
        for path in root.iterdir():
            path.write_bytes(b"another content")

    world.before(root, COPIED, change)
    found = world.ingest(root)
    assert verdicts(found)[COPIED] is Verdict.FAILED
    assert "files could not be copied" in reason(found, COPIED)
    assert ARCHIVED not in verdicts(found)


def test_41_56_a_file_that_changed_is_tried_so_often_and_no_more_and_the_rest_is_copied(
    world: World, tmp_path: Path
) -> None:
    root = plant(tmp_path / "tree", "one changes")
    world.before(root, COPIED, lambda _argv: (root / "file0").write_bytes(b"longer than it was before"))
    found = world.ingest(root, until=COPIED)
    assert verdicts(found)[COPIED] is Verdict.SUCCEEDED
    assert "1 failed" in reason(found, COPIED)
    assert world.runs(found.source, COPIED)[0][0] == ExitCode.LOSSES
    assert world.query(
        "SELECT status, error, tries, count(*) FROM media_copies WHERE medium = :m GROUP BY 1, 2, 3 ORDER BY 1",
        m=found.source,
    ) == [("failed_retryable", "changed_while_read", 5, 1), ("success", None, 1, 4)]


def test_42_a_folder_that_went_away_is_not_a_list_of_lost_files(world: World, tmp_path: Path) -> None:
    root = plant(tmp_path / "tree", "moved")
    world.before(root, COPIED, lambda _argv: root.rename(tmp_path / "elsewhere"))
    found = world.ingest(root)
    assert verdicts(found)[COPIED] is Verdict.FAILED
    assert world.runs(found.source, COPIED)[0][0] == ExitCode.PRECONDITION
    assert "none of the first 5 files" in reason(found, COPIED)
    assert world.query("SELECT count(*) FROM media_copies WHERE medium = :m", m=found.source) == [(0,)]


def test_30_an_archive_that_is_there_and_is_another_is_never_overwritten(world: World, tmp_path: Path) -> None:
    root = plant(tmp_path / "tree", "archived")
    archive = world.settings.media_archives / f"{look_at(str(root)).medium}.tar.zst"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(b"something else")
    found = world.ingest(root)
    assert verdicts(found)[COPIED] is Verdict.SUCCEEDED
    assert verdicts(found)[ARCHIVED] is Verdict.FAILED
    assert world.runs(found.source, ARCHIVED)[0][0] == ExitCode.UNVERIFIED
    assert archive.read_bytes() == b"something else"


# --- what can't be read ---


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        pytest.param(lambda good: good[:-5], "NUL", id="14 is cut off"),
        pytest.param(lambda good: good + b"f\x1c1\x1c2\0", "at byte", id="15 has a short record"),
        pytest.param(
            lambda good: good + b"f\x1c9\x1c9\x1c1\x1c1\x1c1\x1c" + good.split(b"\x1c")[-1],
            "at byte",
            id="16 has a path twice, with two inodes",
        ),
    ],
)
def test_a_listing_that_is_malformed_loads_nothing(
    world: World, tmp_path: Path, spoil: Callable[[bytes], bytes], word: str
) -> None:
    good = _record(plant(tmp_path / "tree", "listed", files=1) / "file0")
    listing = tmp_path / "bad.raw"
    listing.write_bytes(spoil(good))
    found = world.ingest(listing)
    assert verdicts(found)[ENUMERATED] is Verdict.FAILED
    assert world.runs(found.source, ENUMERATED)[0][0] == ExitCode.MALFORMED
    assert word in reason(found, ENUMERATED)
    assert _rows(world, found.source) == []


def test_28_38_an_image_without_a_file_system_has_failed_and_is_not_archived(world: World, tmp_path: Path) -> None:
    image = unpack("random.img", tmp_path)
    found = world.ingest(image)
    assert verdicts(found)[ENUMERATED] is Verdict.FAILED
    assert world.runs(found.source, ENUMERATED)[0][0] == ExitCode.MALFORMED
    assert _archived_by_hand(world, found.source, found.attempt) == ExitCode.PRECONDITION
    assert not (world.settings.media_archives / f"{found.source}.tar.zst").exists()
    assert image.exists()


def test_34_files_that_can_not_be_read_are_told_and_the_rest_is_copied(world: World, tmp_path: Path) -> None:
    found = world.ingest(unpack("ext2_truncated.img", tmp_path), until=COPIED)
    assert verdicts(found)[COPIED] is Verdict.SUCCEEDED
    assert world.runs(found.source, COPIED)[0][0] == ExitCode.LOSSES
    assert (
        world.query(
            "SELECT status, error, tries FROM media_copies WHERE medium = :m AND status <> 'success'", m=found.source
        )
        == [("failed_permanent", "io_error", 5)] * 2
    )


def test_37_a_medium_of_which_something_is_out_of_reach_is_copied_only_once_that_is_acknowledged(
    world: World, tmp_path: Path
) -> None:
    image = unpack("ext2_corrupt_dir.img", tmp_path)
    found = world.ingest(image, until=COPIED)
    assert world.runs(found.source, ENUMERATED)[0][0] == ExitCode.LOSSES
    assert world.query("SELECT kind, count(*) FROM media_problems WHERE medium = :m GROUP BY 1", m=found.source) == [
        ("unreachable_inode", 4)
    ]
    assert verdicts(found)[COPIED] is Verdict.FAILED
    assert world.runs(found.source, COPIED)[0][0] == ExitCode.PRECONDITION
    again = world.ingest(image, until=COPIED, acknowledged="a folder is lost")
    assert verdicts(again)[COPIED] is Verdict.SUCCEEDED


# --- the store ---


def test_21_media_with_the_same_contents_share_them(world: World, tmp_path: Path) -> None:
    begun = [world.line.begin(plant(tmp_path / name, "shared", files=2), until=COPIED) for name in ("one", "two")]
    media = [world.line.wait(outcome, seconds=300).source for outcome in begun]
    assert world.query(
        "SELECT count(DISTINCT (medium, ino)), count(DISTINCT blobid) FROM media_copies WHERE medium = ANY(:media)",
        media=media,
    ) == [(4, 2)]


def test_43_a_content_that_the_store_has_lost_is_put_there_again_whatever_the_rows_say(
    world: World, tmp_path: Path
) -> None:
    first = world.ingest(plant(tmp_path / "first", "lost", files=3), until=COPIED)
    blobs = [
        str(blobid)
        for (blobid,) in world.query("SELECT blobid FROM media_copies WHERE medium = :m ORDER BY path", m=first.source)
    ]
    store = Store(world.settings.media_store)
    store.path(blobs[0]).unlink()
    store.path(blobs[1]).chmod(0o644)
    os.truncate(store.path(blobs[1]), 2)
    second = world.ingest(plant(tmp_path / "second", "lost", files=3), until=COPIED)
    assert verdicts(second)[COPIED] is Verdict.SUCCEEDED
    assert [store.verify(blobid) for blobid in blobs] == blobs
    assert world.query(
        "SELECT created, detail <> '' FROM media_copies WHERE medium = :m ORDER BY path", m=second.source
    ) == [(True, False), (False, True), (False, False)]
