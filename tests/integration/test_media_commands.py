"""`tally media audit`, `verify`, `repair`, `list` and `show`, as their users run them, on a real archive."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from sinks.projection import projection_id
from tallystick.contracts import media, stages
from tallystick.contracts.media import MEDIA, RUNS, Form, Medium, Run
from tallystick.contracts.stages import Outcome, Projection, SourceState, StageState, Started, Verdict
from tallystick.contracts.topics import SOURCE_STAGES, STAGE_OUTCOMES, STAGES, Topic
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tallystick.storage.archives import Wanted, write_archive
from tests.audit_world import MEDIUM, TIMES, Archive, digest
from tests.bad_states import BAD_STATES, Spoil
from tests.sinks import ready
from tests.support import tally, tally_json

TREE = "0" * 31 + "1"


@pytest.fixture
def archive(settings: Settings) -> Iterator[Archive]:
    """An archive where the commands look for it, without a medium."""
    engine = ready(settings)
    yield Archive(engine, settings.home / "media")
    engine.dispose()


@pytest.fixture
def log(settings: Settings) -> Iterator[Publisher]:
    made = Publisher(settings, client_id="test")
    yield made
    made.flush()


def say(log: Publisher, settings: Settings, topic: Topic, key: str, value: bytes) -> None:
    log.send(settings.kafka.topic(topic), key=key.encode(), value=value)
    log.flush()


def say_verdicts(log: Publisher, settings: Settings, engine: sa.Engine, medium: str, kind: str = "media.image") -> None:
    """Let the log say of all stages that they have succeeded."""
    done = {stage: StageState(1, Verdict.SUCCEEDED, ended_at=at) for stage, at in TIMES.items()}
    shared, ours = {"identified": done.pop("identified")}, done
    projections = {"": Projection(stages=shared), projection_id(engine): Projection(stages=ours)}
    state = SourceState(medium, kind, "x", attempt=1, revision=9, projections=projections)
    say(log, settings, SOURCE_STAGES, medium, stages.encode(state))


@pytest.mark.parametrize(("code", "spoil"), BAD_STATES, ids=[f"{code}: {f.__name__}" for code, f in BAD_STATES])
def test_a_bad_state_is_named_by_its_code_alone_on_postgresql(archive: Archive, code: str, spoil: Spoil) -> None:
    archive.add_medium()
    archive.add_medium("ffffffffffffffffffffffffffffffff", name="another", files={b"x": b"other"})
    spoil(archive)
    assert archive.codes() == [code]


def test_the_audit_looks_at_database_store_folders_and_log(
    archive: Archive, settings: Settings, log: Publisher
) -> None:
    archive.add_medium()
    say_verdicts(log, settings, archive.engine, MEDIUM)
    done = tally(settings, "media", "audit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 media checked, 0 violations" in done.stdout
    assert "1  COMPLETE" in done.stdout
    listed = tally_json(settings, "media", "list", "--json")
    assert [(one["medium"], one["paths"], one["class"]) for one in listed] == [(MEDIUM, 5, "COMPLETE")]
    assert "COMPLETE" in tally(settings, "media", "list").stdout


def test_a_violation_is_a_row_and_exit_code_6_and_its_name_can_do_no_harm(
    archive: Archive, settings: Settings, log: Publisher
) -> None:
    archive.add_medium()
    say_verdicts(log, settings, archive.engine, MEDIUM)
    (archive.places.listings / "evil\x1b[31m\n.raw").write_bytes(b"x\0")
    done = tally(settings, "media", "audit")
    assert done.returncode == 6
    [row] = [line for line in done.stdout.splitlines() if line.startswith("I10")]
    assert r"evil\x1b[31m\n.raw" in row
    assert "\x1b" not in done.stdout
    found = tally_json(settings, "media", "audit", "--json")
    assert [violation["code"] for violation in found["violations"]] == ["I10"]
    assert (found["media_checked"], found["classes"]["COMPLETE"]) == (1, 1)


def test_4_a_verdict_that_was_set_by_hand_is_named(archive: Archive, settings: Settings) -> None:
    """Fault 4: the database says so, the log does not."""
    archive.add_medium()
    found = tally_json(settings, "media", "audit", "--json")
    assert [violation["code"] for violation in found["violations"]] == ["I12"]


def test_58_an_audit_that_has_nothing_to_look_at_does_not_end_well(archive: Archive, settings: Settings) -> None:
    """Fault 58."""
    done = tally(settings, "media", "audit")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (4, "0 media checked")


def test_58_an_audit_that_can_not_look_says_so(archive: Archive, settings: Settings) -> None:
    """Fault 58."""
    archive.add_medium()
    down = settings.database.model_copy(update={"schema_name": "nobody_has_this_schema"})
    done = tally(settings.model_copy(update={"database": down}), "media", "audit")
    assert done.returncode == 78
    assert "0 media checked" in done.stderr
    archive.places.store.rename(archive.root / "unmounted")
    done = tally(settings, "media", "audit")
    assert (done.returncode, "0 media checked" in done.stderr, "mount it" in done.stderr) == (1, True, True)


def test_44_a_corrupt_blob_names_every_path_and_medium_and_is_healed_from_any_of_them(
    archive: Archive, settings: Settings, log: Publisher, tmp_path: Path
) -> None:
    """Fault 44."""
    folder = tmp_path / "folder"
    hostile = folder / os.fsdecode(b"deep\n/\xff.txt")
    hostile.parent.mkdir(parents=True)
    hostile.write_bytes(b"alpha")
    archive.add_medium()
    archive.add_tree(TREE, folder)
    for medium, kind in ((MEDIUM, "media.image"), (TREE, "media.tree")):
        say_verdicts(log, settings, archive.engine, medium, kind)
    assert tally(settings, "media", "verify").returncode == 0
    archive.blob(b"alpha").write_bytes(b"alphA")

    assert tally(settings, "media", "audit").returncode == 0
    found = tally_json(settings, "media", "verify", "--sample", "1", "--json")
    where = {(one["medium"], base64.b64decode(one["path_b64"])) for one in found["touched"]}
    assert where == {
        (MEDIUM, b"docs/a.txt"),
        (MEDIUM, b"docs/again.txt"),
        (TREE, b"deep\n/\xff.txt"),
    }
    assert {(one["blob"], one["kind"]) for one in found["touched"]} == {(digest(b"alpha"), "corrupt")}
    done = tally(settings, "media", "verify", "--sample", "1")
    assert done.returncode == 6
    assert r"deep\n/\udcff.txt" in done.stdout

    planned = tally(settings, "media", "repair", "--verify", "--dry-run")
    assert (planned.returncode, digest(b"alpha") in planned.stdout) == (0, True)
    assert archive.blob(b"alpha").read_bytes() == b"alphA"
    mended = tally(settings, "media", "repair", "--verify")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert f"healed {digest(b'alpha')} from {TREE}" in mended.stdout
    assert archive.blob(b"alpha").read_bytes() == b"alpha"
    assert tally(settings, "media", "verify", "--sample", "1").returncode == 0


def test_a_content_that_no_medium_has_any_more_is_left_and_nothing_else_is_put_in_its_place(
    archive: Archive, settings: Settings, log: Publisher, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"alpha")
    archive.add_tree(TREE, folder)
    say_verdicts(log, settings, archive.engine, TREE, "media.tree")
    archive.blob(b"alpha").unlink()
    (folder / "file").write_bytes(b"gamma")
    done = tally(settings, "media", "repair")
    assert (done.returncode, f"not healed: {digest(b'alpha')}" in done.stdout) == (6, True)
    assert not archive.blob(b"alpha").exists()
    assert not archive.blob(b"gamma").exists()


def test_what_is_to_be_ingested_again_is_told(archive: Archive, settings: Settings, log: Publisher) -> None:
    archive.add_medium()
    say_verdicts(log, settings, archive.engine, MEDIUM)
    archive.add_inode(MEDIUM, 77, "f", b"new", size=3)
    done = tally(settings, "media", "repair", "--dry-run")
    assert f"ingest {MEDIUM} again: tally media ingest {archive.image()}" in done.stdout


def test_all_archives_are_decoded(archive: Archive, settings: Settings, log: Publisher) -> None:
    """Fault 31."""
    archive.add_medium()
    archive.archive().unlink()
    write_archive(archive.archive(), [Wanted(b"image", archive.image())])
    done = tally(settings, "media", "verify", "--all")
    assert (done.returncode, "1 archives decoded" in done.stdout) == (0, True), done.stdout
    content = bytearray(archive.archive().read_bytes())
    content[len(content) // 2] ^= 1
    archive.archive().chmod(0o644)
    archive.archive().write_bytes(content)
    found = tally_json(settings, "media", "verify", "--all", "--json")
    assert [one["medium"] for one in found["archives"]] == [MEDIUM]


def test_a_sample_can_be_chosen_again_and_is_never_empty(archive: Archive, settings: Settings) -> None:
    archive.add_medium(files={b"%d" % number: b"content %d" % number for number in range(40)})
    one = tally_json(settings, "media", "verify", "--sample", "0", "--json")
    assert one["blobs_checked"] == 1
    some = [tally_json(settings, "media", "verify", "--sample", "0.5", "--seed", "7", "--json") for _ in range(2)]
    assert some[0] == some[1]
    assert 0 < some[0]["blobs_checked"] < 40
    assert tally(settings, "media", "verify", "--all", "--sample", "0.5").returncode == 2


def test_a_store_without_blobs_was_not_verified(archive: Archive, settings: Settings) -> None:
    assert tally(settings, "media", "verify", "--all").returncode == 4


def test_the_history_is_read_from_the_log(archive: Archive, settings: Settings, log: Publisher) -> None:
    archive.add_medium()
    at = TIMES["loaded"]
    say(log, settings, MEDIA, MEDIUM, media.encode(Medium(MEDIUM, Form.IMAGE, 1, "cdrom", b"/x", TIMES["identified"])))
    say(log, settings, STAGES, MEDIUM, stages.encode(Started(MEDIUM, "media.image", "x", "copied", 1, at)))
    say(log, settings, RUNS, MEDIUM, media.encode(Run(MEDIUM, 4, "copied", 1, "host:1", at, TIMES["copied"], 1.5, -9)))
    outcome = Outcome(
        MEDIUM, "media.image", "x", "copied", 1, "", Verdict.FAILED, "\x1b[31mkilled", 0, 0, TIMES["copied"]
    )
    say(log, settings, STAGE_OUTCOMES, MEDIUM, stages.encode(outcome))
    other = MEDIUM[:8] + "f" * 24
    say(log, settings, RUNS, other, media.encode(Run(other, 5, "copied", 1, "host:2", at)))
    for word in ("cdrom", MEDIUM[:10]):
        shown = tally(settings, "media", "show", word)
        assert shown.returncode == 0, shown.stderr
        assert "signal 9" in shown.stdout
        assert r"\x1b[31mkilled" in shown.stdout
        assert "host:2" not in shown.stdout
    found = tally_json(settings, "media", "show", MEDIUM, "--json")
    assert [one["event"] for one in found["history"]] == ["identified", "started", "run ended", "verdict"]
    assert found["history"][2]["seconds"] == 1.5
    xml = tally(settings, "media", "show", MEDIUM, "--premis").stdout
    assert "<premis:eventType" in xml
    assert json.dumps(MEDIUM).strip('"') in xml


def test_a_word_that_names_no_medium_or_several_is_a_mistake_of_usage(archive: Archive, settings: Settings) -> None:
    archive.add_medium()
    archive.add_medium(MEDIUM[:8] + "f" * 24, name="another", files={})
    assert tally(settings, "media", "show", "nothing").returncode == 2
    many = tally(settings, "media", "show", MEDIUM[:8])
    assert (many.returncode, "give more of the id" in many.stderr) == (2, True)
