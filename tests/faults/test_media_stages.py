"""Stages that fail, lie or hang. The numbers are those of the faults in docs/reference/media-faults.md."""

import sys
from pathlib import Path

import pytest

from sinks.standing import SourceStanding
from tallystick.cli.media.stage_process import Argv, stage_argv
from tallystick.contracts.media import ENUMERATED
from tallystick.contracts.stages import Command, Verdict
from tallystick.settings import Settings
from tests.media_pipeline import Pipeline, pipeline
from tests.support import eventually


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of three files and a folder."""
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    for name in ("one", "two", "below/three"):
        (folder / name).write_text(name)
    return folder


def told(found: SourceStanding, stage: str) -> tuple[Verdict | None, str]:
    """Return the verdict on a stage, and its reason."""
    one = next(stage_ for stage_ in found.stages if stage_.stage == stage)
    return one.verdict, one.reason


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def instead_of(stage: str, code: str) -> Argv:
    """Return command lines of which that of `stage` is replaced by a program."""

    def argv(command: Command, run: int) -> tuple[str, ...]:
        return python(code) if command.stage == stage else stage_argv(command, run)

    return argv


def runs(world: Pipeline, *, count: int) -> list[tuple[object, ...]]:
    """Return the runs that have ended, once the database knows of so many."""
    text = "SELECT stage, exit_code, detail FROM media_runs WHERE revision = 1 ORDER BY run"
    return eventually(lambda: world.query(text), until=lambda rows: len(rows) >= count)


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
    settings: Settings, tree: Path, code: str, reason: str
) -> None:
    with pipeline(settings, argv=instead_of(ENUMERATED, code)) as world:
        found = world.ingest(tree)
        verdict, why = told(found, ENUMERATED)
        assert verdict is Verdict.FAILED
        assert why.startswith(reason)
        assert [stage.stage for stage in found.stages if stage.verdict] == ["identified", ENUMERATED]
        assert {stage for stage, *_ in runs(world, count=1)} == {ENUMERATED}
        assert world.query("SELECT count(*) FROM media_paths") == [(0,)]


def test_2_a_stage_that_claims_what_it_did_not_do_is_a_mismatch_and_nothing_follows(
    settings: Settings, tree: Path
) -> None:
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
    with pipeline(settings, argv=instead_of(ENUMERATED, code)) as world:
        found = world.ingest(tree)
        assert told(found, ENUMERATED)[0] is Verdict.MISMATCH
        assert [stage.stage for stage in found.stages if stage.verdict] == ["identified", ENUMERATED]


def test_6_a_stage_that_hangs_is_killed_tried_again_and_then_has_failed(settings: Settings, tree: Path) -> None:
    hasty = settings.model_copy(
        update={"media": settings.media.model_copy(update={"silence_seconds": 0.5, "stage_tries": 2})}
    )
    with pipeline(hasty, argv=instead_of(ENUMERATED, "import time; time.sleep(600)")) as world:
        verdict, why = told(world.ingest(tree), ENUMERATED)
        assert verdict is Verdict.FAILED
        assert why.startswith("timeout: ")
        assert why.endswith("(2 tries)")
        assert len(runs(world, count=2)) == 2
