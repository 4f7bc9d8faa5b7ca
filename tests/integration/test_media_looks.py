"""Looks: what is found where all is well, and that nothing which is missing, spoilt or untold counts as there."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from blake3 import blake3

from sinks.looking import Interrupted, Look, Question, look
from sinks.media.looks import LOOKS
from sinks.media.looks.copied import Sample
from sinks.projection import projection_id
from tallystick.contracts import listings, rescue_maps, stages
from tallystick.contracts.listings import Sidecar
from tallystick.contracts.media import (
    ARCHIVED,
    COPIED,
    ENUMERATED,
    IMAGED,
    LOADED,
    RECORD_COUNTS,
    Copied,
    CopyStatus,
    Form,
    Found,
    Problem,
    ProblemKind,
    set_digest,
)
from tallystick.contracts.stages import Command, Reported, Started
from tallystick.contracts.topics import STAGE_COMMANDS
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings, VerifierSettings
from tallystick.storage import archives
from tallystick.storage.store import Store
from tests.media import AT, HOSTILE, MEDIUM, failed, file, medium, store_copies, store_entries, store_media
from tests.sinks import stage_events, verifying
from tests.support import eventually

FOUND = [
    Found(0, 2, "d", 2, 4096, 0, b".", mtime_ns=999_999_999),
    *(file(10 + number, path) for number, path in enumerate(HOSTILE)),
    file(10, b"another name of it", excluded="pattern:1"),
    Found(1, 10, "l", 1, 3, -1, b"link", target=b"\xff"),
    Found(1, 11, "p", 1, 0, 0, b"fifo"),
]
PROBLEMS = [Problem(1, ProblemKind.FOLDER_UNREADABLE, "EIO", b"\xff")]
COUNTS = dict(
    zip(
        RECORD_COUNTS,
        (len(FOUND), len(FOUND) - 1, len(HOSTILE) + 1, 1, 1, 1, 1, 1),
        strict=True,
    )
)
Spoil = Callable[[sa.Engine, Settings], object]


def ask(engine: sa.Engine, place: Settings, stage: str, *, attempt: int = 1, run: int = 7) -> Look:
    return look(Question(place, engine, MEDIUM, stage, attempt, run), LOOKS)


def execute(statement: str) -> Spoil:
    def spoil(engine: sa.Engine, _: Settings) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text(statement))

    return spoil


def write_listing(place: Settings, *, attempt: int = 1, found: list[Found] = FOUND) -> Path:
    folder = place.media_listings
    folder.mkdir(parents=True)
    content = b"".join(listings.encode(one, mount=b"/mnt/%d" % one.part) for one in disk(found))
    sidecar = Sidecar(
        medium=MEDIUM,
        attempt=attempt,
        records=len(found),
        bytes=len(content),
        blake3=blake3(content).hexdigest(),
        digest=set_digest(found),
        counts=COUNTS,
    )
    raw = folder / f"{MEDIUM}.raw"
    raw.write_bytes(content)
    (folder / f"{MEDIUM}.raw.json").write_bytes(listings.encode_sidecar(sidecar))
    return raw


def disk(found: list[Found]) -> list[Found]:
    """Return records with a device for each part, as a listing tells them apart."""
    return [msgspec.structs.replace(one, dev=one.part) for one in found]


# loaded


def test_rows_are_recounted_and_their_digest_is_that_of_what_was_found(engine: sa.Engine, place: Settings) -> None:
    store_entries(engine, file(77, b"gone since"), file(10, b"."), attempt=1)
    store_entries(engine, *FOUND, *PROBLEMS, attempt=2)
    assert ask(engine, place, LOADED, attempt=2) == Look(COUNTS, set_digest(FOUND))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(execute("DELETE FROM media_paths WHERE ino = 11"), id="a path is gone"),
        pytest.param(execute("DELETE FROM media_inodes WHERE ino = 11"), id="an inode is gone"),
        pytest.param(execute("UPDATE media_inodes SET size = size + 1 WHERE ino = 12"), id="a size is another"),
        pytest.param(execute("UPDATE media_inodes SET mtime_ns = 1 WHERE ino = 12"), id="a nanosecond is another"),
        pytest.param(execute("UPDATE media_paths SET path = 'x' WHERE ino = 12"), id="a path is another"),
        pytest.param(execute("UPDATE media_paths SET revision = 0 WHERE ino = 12"), id="a path is of another attempt"),
        pytest.param(execute("UPDATE media_inodes SET revision = 0 WHERE ino = 12"), id="an inode is of another"),
        pytest.param(execute("UPDATE media_paths SET excluded = '' WHERE ino = 10"), id="nothing is excluded"),
        pytest.param(execute("DELETE FROM media_problems"), id="a problem is gone"),
        pytest.param(execute("ALTER TABLE media_problems RENAME TO away"), id="a table is gone"),
        pytest.param(execute("ALTER TABLE media_inodes RENAME TO away"), id="the table of inodes is gone"),
    ],
)
def test_2_rows_that_are_not_what_was_found_do_not_look_so(engine: sa.Engine, place: Settings, spoil: Spoil) -> None:
    store_entries(engine, *FOUND, *PROBLEMS)
    assert ask(engine, place, LOADED) == Look(COUNTS, set_digest(FOUND))
    spoil(engine, place)
    seen = ask(engine, place, LOADED)
    assert (seen.found, seen.digest) != (COUNTS, set_digest(FOUND))


def test_an_attempt_that_loaded_nothing_is_counted_as_nothing(engine: sa.Engine, place: Settings) -> None:
    store_entries(engine, *FOUND)
    assert ask(engine, place, LOADED, attempt=2) == Look(dict.fromkeys(RECORD_COUNTS, 0), f"{0:064x}")


# enumerated


def test_a_listing_is_read_back_and_recounted(engine: sa.Engine, place: Settings) -> None:
    write_listing(place)
    assert ask(engine, place, ENUMERATED) == Look(COUNTS, set_digest(FOUND))


def rewrite(change: Callable[[bytes], bytes], *, name: str = f"{MEDIUM}.raw") -> Spoil:
    def spoil(_: sa.Engine, place: Settings) -> None:
        path = place.media_listings / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


SIDECAR = f"{MEDIUM}.raw.json"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(rewrite(lambda raw: raw[:-9]), "without a NUL", id="cut off"),
        pytest.param(rewrite(lambda raw: raw[: raw.rindex(b"\0", 0, -1) + 1]), "sidecar says", id="a record less"),
        pytest.param(rewrite(lambda raw: raw.replace(b"link", b"lynk")), "blake3", id="another name"),
        pytest.param(rewrite(lambda _: b""), "sidecar says", id="empty"),
        pytest.param(rewrite(lambda _: b"{", name=SIDECAR), "sidecar of the listing", id="no sidecar that can be read"),
        pytest.param(
            lambda _, place: (place.media_listings / SIDECAR).unlink(), "No such file", id="no sidecar at all"
        ),
        pytest.param(
            lambda _, place: (place.media_listings / f"{MEDIUM}.raw").unlink(), "No such file", id="no listing"
        ),
        pytest.param(
            rewrite(lambda told: told.replace(b'"attempt":1', b'"attempt":2'), name=SIDECAR),
            "of attempt 2",
            id="of another attempt",
        ),
    ],
)
def test_a_listing_that_is_not_whole_counts_for_nothing(
    engine: sa.Engine, place: Settings, spoil: Spoil, said: str
) -> None:
    write_listing(place)
    spoil(engine, place)
    seen = ask(engine, place, ENUMERATED)
    assert (seen.found, seen.digest) == ({}, "")
    assert said in seen.detail


def test_a_count_that_a_sidecar_does_not_tell_is_not_zero(engine: sa.Engine, place: Settings) -> None:
    write_listing(place)
    rewrite(lambda told: told.replace(b'"problems":1}', b'"others":1}'), name=SIDECAR)(engine, place)
    assert ask(engine, place, ENUMERATED).found == {name: n for name, n in COUNTS.items() if name != "problems"}


# copied

CONTENTS = {number: b"content %d" % (number // 2) for number in range(20, 30)}
"""Of each inode; two share each."""
COPIES = {"inodes": 12, "copied": 10, "failed": 1, "excluded": 1, "bytes": sum(map(len, CONTENTS.values()))}


def blob_of(place: Settings, number: int) -> Path:
    store = Store(place.media_store)
    return store.path(blake3(CONTENTS[number]).hexdigest())


@pytest.fixture
def copied(engine: sa.Engine, place: Settings) -> None:
    """A medium of which ten files are copied, one failed, and one is excluded."""
    store_entries(
        engine,
        *(file(ino, b"f%d" % ino, size=len(content)) for ino, content in CONTENTS.items()),
        file(40, b"failed"),
        file(41, b"excluded", excluded="pattern:1"),
        file(42, b"folder", type="d"),
    )
    store = Store(place.media_store)
    made = {ino: store.publish([content], size=len(content)) for ino, content in CONTENTS.items()}
    store_copies(
        engine,
        *(
            Copied(0, ino, 7, CopyStatus.SUCCESS, AT, b"x", one.blobid, one.sha256, one.size)
            for ino, one in made.items()
        ),
        failed(40, 7),
    )


def damage(engine: sa.Engine, place: Settings) -> None:
    path = blob_of(place, 20)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])


def cut(_: sa.Engine, place: Settings) -> None:
    path = blob_of(place, 20)
    path.chmod(0o644)
    os.truncate(path, 1)


def replace_by_folder(_: sa.Engine, place: Settings) -> None:
    blob_of(place, 20).unlink()
    blob_of(place, 20).mkdir()


@pytest.mark.usefixtures("copied")
def test_copies_that_are_whole_look_so(engine: sa.Engine, place: Settings) -> None:
    assert ask(engine, place, COPIED) == Look(COPIES)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    ("spoil", "copied_still", "said"),
    [
        pytest.param(lambda _, place: blob_of(place, 20).unlink(), 8, "is not in the store", id="a file is gone"),
        pytest.param(replace_by_folder, 8, "is not in the store", id="a folder lies in its place"),
        pytest.param(cut, 8, "has 1 in the store", id="a file was cut"),
        pytest.param(damage, 9, "was read again and is", id="a content is another, of the same size"),
        pytest.param(execute("DELETE FROM media_blobs WHERE size > 0"), 0, "no row knows", id="no content has a row"),
        pytest.param(
            execute("DELETE FROM media_copies WHERE ino = 21"), 9, "21 of part 0 was not copied", id="no copy"
        ),
        pytest.param(execute("UPDATE media_inodes SET size = 3 WHERE ino = 21"), 9, "was not copied", id="it changed"),
        pytest.param(execute("UPDATE media_blobs SET size = 3"), 0, "is said to have 3", id="sizes contradict"),
    ],
)
def test_what_is_not_there_does_not_count_as_copied(
    engine: sa.Engine, place: Settings, spoil: Spoil, copied_still: int, said: str
) -> None:
    spoil(engine, place)
    seen = ask(engine, place, COPIED)
    assert (seen.found["inodes"], seen.found["copied"], seen.found["failed"]) == (12, copied_still, 1)
    assert seen.found["bytes"] == copied_still * 10
    assert said in seen.detail


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(execute("ALTER TABLE media_copies RENAME TO away"), id="no table of copies"),
        pytest.param(execute("ALTER TABLE media_inodes RENAME TO away"), id="no table of inodes"),
    ],
)
def test_19_copies_that_could_not_be_looked_at_have_no_counts(engine: sa.Engine, place: Settings, spoil: Spoil) -> None:
    spoil(engine, place)
    seen = ask(engine, place, COPIED)
    assert seen.found == {}
    assert seen.detail.startswith("could not look: ")


@pytest.mark.usefixtures("copied")
def test_without_a_sample_only_sizes_are_looked_at(engine: sa.Engine, place: Settings) -> None:
    damage(engine, place)
    none = place.model_copy(update={"media": place.media.model_copy(update={"sample_files": 0})})
    assert ask(engine, none, COPIED) == Look(COPIES)


def test_a_sample_is_the_same_for_the_same_run_whatever_comes_first_and_another_for_another() -> None:
    blobs = [f"{number:064x}" for number in range(1_000)]

    def chosen(salt: str, offered: list[str]) -> list[tuple[str, int]]:
        sample = Sample(20, salt=salt)
        for blobid in offered:
            sample.offer(blobid, 1)
        return sample.chosen

    assert chosen("a", blobs) == chosen("a", [*reversed(blobs), *blobs])
    assert len(set(chosen("a", blobs))) == 20
    assert chosen("a", blobs) != chosen("b", blobs)


# imaged and archived


def image(engine: sa.Engine, place: Settings, *, form: Form = Form.DEVICE, **more: object) -> bytes:
    """Store a medium, and lay its image where a device's is made; return what is in it."""
    content = bytes(range(256)) * 40
    place.media_images.mkdir(parents=True)
    (place.media_images / f"{MEDIUM}.img").write_bytes(content)
    extents = (
        rescue_maps.Extent(0, 1024, "+"),
        rescue_maps.Extent(1024, 512, "-"),
        rescue_maps.Extent(1536, len(content) - 1536, "+"),
    )
    chart = rescue_maps.RescueMap(extents=extents, finished=True)
    (place.media_images / f"{MEDIUM}.map").write_bytes(rescue_maps.render(chart))
    fields = {"image": os.fsencode(place.media_images / f"{MEDIUM}.img"), "map": b"", "root": b"/dev/x"} | more
    store_media(engine, medium(form=form, **fields))  # type: ignore[arg-type]
    return content


def test_an_image_is_read_whole_and_its_map_says_what_of_it_is_bad(engine: sa.Engine, place: Settings) -> None:
    content = image(engine, place, image=b"")
    seen = ask(engine, place, IMAGED)
    assert seen == Look({"bytes": len(content), "bad_bytes": 512}, blake3(content).hexdigest())
    os.truncate(place.media_images / f"{MEDIUM}.img", len(content) + 100)
    assert ask(engine, place, IMAGED).found == {"bytes": len(content) + 100, "bad_bytes": 612}
    os.truncate(place.media_images / f"{MEDIUM}.img", len(content) - 1)
    assert ask(engine, place, IMAGED).found == {}


@pytest.mark.parametrize("missing", ["img", "map"])
def test_an_image_or_map_that_is_missing_is_what_is_found(engine: sa.Engine, place: Settings, missing: str) -> None:
    image(engine, place)
    (place.media_images / f"{MEDIUM}.{missing}").unlink()
    seen = ask(engine, place, IMAGED)
    assert seen.found == {}
    assert f"{MEDIUM}.{missing}: No such file" in seen.detail


def archive(place: Settings, *names: Path) -> archives.Archive:
    final = place.media_archives / f"{MEDIUM}.tar.zst"
    return archives.write_archive(final, [archives.Wanted(os.fsencode(path.name), path) for path in names])


def test_an_archive_is_decoded_and_compared_with_what_it_was_made_of(engine: sa.Engine, place: Settings) -> None:
    image(engine, place)
    files = [place.media_images / f"{MEDIUM}.{kind}" for kind in ("img", "map")]
    made = archive(place, *files)
    size = sum(path.stat().st_size for path in files)
    counts = {"members": 2, "bytes": size, "archive_bytes": made.size}
    assert ask(engine, place, ARCHIVED) == Look(counts, made.digest)


def test_an_image_that_was_identified_need_not_be_read_again(engine: sa.Engine, place: Settings) -> None:
    content = image(engine, place, form=Form.IMAGE, digest=blake3(bytes(range(256)) * 40).hexdigest())
    path = place.media_images / f"{MEDIUM}.img"
    archive(place, path)
    path.unlink()
    assert ask(engine, place, ARCHIVED).found["bytes"] == len(content)


def test_the_archive_of_a_folder_holds_its_listing(engine: sa.Engine, place: Settings) -> None:
    store_media(engine, medium(form=Form.TREE, root=b"/tree", image=b""))
    raw = write_listing(place)
    made = archive(place, raw)
    assert ask(engine, place, ARCHIVED).digest == made.digest
    raw.write_bytes(b"another")
    assert f"{MEDIUM}.raw is " in ask(engine, place, ARCHIVED).detail


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda path: path.unlink(), "No such file", id="it is gone"),
        pytest.param(lambda path: os.truncate(path, 200), "is damaged", id="it is cut"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:-3] + b"abc"), "is damaged", id="its end is another"
        ),
    ],
)
def test_an_archive_that_is_not_whole_counts_for_nothing(
    engine: sa.Engine, place: Settings, spoil: Callable[[Path], object], said: str
) -> None:
    image(engine, place)
    archive(place, *(place.media_images / f"{MEDIUM}.{kind}" for kind in ("img", "map")))
    spoil(place.media_archives / f"{MEDIUM}.tar.zst")
    seen = ask(engine, place, ARCHIVED)
    assert (seen.found, seen.digest) == ({}, "")
    assert said in seen.detail


def test_an_archive_of_too_little_or_too_much_is_told(engine: sa.Engine, place: Settings) -> None:
    image(engine, place)
    stray = place.media_images / "stray\udcff"
    stray.write_bytes(b"x")
    archive(place, place.media_images / f"{MEDIUM}.img", stray)
    seen = ask(engine, place, ARCHIVED)
    assert seen.found == {}
    assert "holds stray\\udcff, which is none" in seen.detail
    assert f"lacks {place.media_images / MEDIUM}.map" in seen.detail


# all of them


def test_an_error_of_the_look_itself_is_told_and_one_that_may_pass_is_raised(place: Settings, tmp_path: Path) -> None:
    away = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 2})
    with pytest.raises(sa.exc.OperationalError):
        ask(away, place, LOADED)
    assert "knows no look" in ask(away, place, "painted").detail
    empty_file = sa.create_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    assert ask(empty_file, place, COPIED).found == {}


def test_who_does_not_want_to_know_any_more_ends_the_look(engine: sa.Engine, place: Settings) -> None:
    write_listing(place)

    def interrupt() -> None:
        raise Interrupted

    question = Question(place, engine, MEDIUM, ENUMERATED, 1, progress=interrupt)
    with pytest.raises(Interrupted):
        look(question, LOOKS)


def test_the_verifier_answers_the_command_to_look_and_leaves_work_to_others(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    store_media(engine, medium(attempt=1))
    store_entries(engine, *FOUND, *PROBLEMS)
    mine = place.model_copy(
        update={
            "verifier": VerifierSettings(settle_seconds=0.1),
            "reader": place.reader.model_copy(update={"heartbeat_seconds": 1e-9}),
        }
    )
    topic = place.kafka.topic(STAGE_COMMANDS)
    work = Command(MEDIUM, Form.IMAGE.kind, "disk", COPIED, 1, projection_id(engine), AT)
    for command in (
        work,
        msgspec.structs.replace(work, stage=LOADED, look=True, run=9, projection="another"),
        msgspec.structs.replace(work, stage=ENUMERATED, look=True, run=8),
        msgspec.structs.replace(work, stage=LOADED, look=True, run=9),
    ):
        publisher.send(topic, key=MEDIUM.encode(), value=stages.encode(command))
    publisher.flush()

    def reports() -> list[Reported]:
        return [event for event in stage_events(place) if isinstance(event, Reported)]

    with verifying(mine):
        missing, loaded = eventually(reports, until=lambda seen: len(seen) == 2)
    assert (missing.stage, missing.run, missing.found) == (ENUMERATED, 8, {})
    assert "No such file" in missing.detail
    assert (loaded.stage, loaded.run, loaded.found, loaded.digest) == (LOADED, 9, COUNTS, set_digest(FOUND))
    assert (loaded.source, loaded.attempt, loaded.projection) == (MEDIUM, 1, projection_id(engine))
    beats = [event for event in stage_events(place) if isinstance(event, Started)]
    assert {(beat.stage, beat.attempt, beat.projection) for beat in beats} == {(LOADED, 1, projection_id(engine))}
