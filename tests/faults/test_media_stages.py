"""Stages that fail, lie or hang. The numbers are those of the faults in docs/reference/media-faults.md."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.contracts.media import ENUMERATED, IDENTIFIED
from tallystick.contracts.stages import Verdict
from tallystick.settings import Settings
from tests.media_world import Act, World, plant, verdicts, world_of
from tests.media_world import reason as why
from tests.plugins.services import apart


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of three files."""
    return plant(tmp_path / "tree", "stages", files=3)


@pytest.fixture(scope="module")
def world(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The pipeline of all tests of this module but those of other settings."""
    with apart(servers, home=tmp_path_factory.mktemp("stages") / "home") as settings, world_of(settings) as world:
        yield world


def instead(code: str) -> Act:
    """Return what has a program run instead of a stage's process."""
    return lambda _argv: (sys.executable, "-c", code)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("", "exit code 0, but it claimed nothing", id="1 exits 0 and did nothing"),
        pytest.param("raise SystemExit(3)", "exit code 3, but it claimed nothing", id="1 exits 3 and did nothing"),
        pytest.param("raise SystemExit(1)", "exit code 1", id="5 exits 1"),
        pytest.param("raise SystemExit(2)", "exit code 2", id="5 exits 2"),
        pytest.param("raise SystemExit(139)", "exit code 139", id="5 exits 139"),
        pytest.param("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV", id="5 is killed by a signal"),
        pytest.param(
            "print('{\"at\": 1}')", "exit code 0, but it claimed nothing", id="7 says how far it is, then ends"
        ),
        pytest.param("print('done!')", "exit code 0, but it claimed nothing", id="1 says that it is done"),
    ],
)
def test_a_stage_that_did_not_do_its_work_has_failed_and_nothing_follows(
    world: World, tree: Path, code: str, reason: str
) -> None:
    world.before(tree, ENUMERATED, *[instead(code)] * world.settings.media.stage_tries)
    found = world.ingest(tree)
    assert verdicts(found) == {IDENTIFIED: Verdict.SUCCEEDED, ENUMERATED: Verdict.FAILED}
    assert why(found, ENUMERATED).startswith(reason)
    assert world.runs(found.source, ENUMERATED)
    assert world.query("SELECT DISTINCT stage FROM media_runs WHERE medium = :m", m=found.source) == [(ENUMERATED,)]
    assert world.query("SELECT count(*) FROM media_paths WHERE medium = :m", m=found.source) == [(0,)]


def test_2_a_stage_that_claims_what_it_did_not_do_is_a_mismatch_and_nothing_follows(world: World, tree: Path) -> None:
    counts = {
        "records": 5,
        "inodes": 5,
        "files": 3,
        "folders": 2,
        "links": 0,
        "others": 0,
        "excluded": 0,
        "problems": 0,
    }
    code = f"import json; print(json.dumps({{'at': 1, 'claim': {{'counts': {counts}, 'digest': 'd'}}}}))"
    world.before(tree, ENUMERATED, instead(code))
    found = world.ingest(tree)
    assert verdicts(found) == {IDENTIFIED: Verdict.SUCCEEDED, ENUMERATED: Verdict.MISMATCH}


def test_6_a_stage_that_hangs_is_killed_tried_again_and_then_has_failed(settings: Settings, tree: Path) -> None:
    hasty = settings.model_copy(
        update={"media": settings.media.model_copy(update={"silence_seconds": 0.5, "stage_tries": 2})}
    )
    with world_of(hasty) as world:
        world.before(tree, ENUMERATED, *[instead("import time; time.sleep(600)")] * 2)
        found = world.ingest(tree)
        assert verdicts(found)[ENUMERATED] is Verdict.FAILED
        assert why(found, ENUMERATED).startswith("timeout: ")
        assert why(found, ENUMERATED).endswith("(2 tries)")
        assert len(world.runs(found.source, ENUMERATED, count=2)) == 2
