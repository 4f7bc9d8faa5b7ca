"""The ends of the processes that a media worker starts: each is recorded as a role's is, below its worker."""

import sys
import time
from pathlib import Path

import pytest

from tallystick.cli.media.stage_process import run_process, stage_spec
from tallystick.settings import MediaSettings, Settings
from tallystick.supervision.exit_files import ExitFiles
from tallystick.supervision.records import Records
from tallystick.supervision.standing import Condition
from tests.unit.test_supervision_records import FakeKafka

TASK = "media/media-worker-1/copied"
CLAIM = """print('{"at": 1, "claim": {"counts": {}}}', flush=True)\n"""
DONE, STOPPED, GIVEN_UP = Condition.DONE, Condition.STOPPED, Condition.GIVEN_UP


def end(settings: Settings, kafka: FakeKafka, code: str, *, tries_left: int = 0) -> None:
    """Have a worker start a stage's process that runs `code`, and wait for its end."""
    spec = stage_spec("1", (sys.executable, "-I", "-S", "-c", code), task=TASK)
    with Records(settings, make_publisher=kafka.client) as records:
        run_process(settings, spec, lambda: None, watcher=records, tries_left=tries_left)


@pytest.mark.parametrize(
    ("code", "tries_left", "condition", "reason", "exit_code", "follows"),
    [
        pytest.param(CLAIM, 2, DONE, "finished", 0, "", id="done"),
        pytest.param(
            CLAIM + "raise SystemExit(3)", 2, DONE, "finished", 3, "", id="done, with losses that are recorded"
        ),
        pytest.param(
            "", 2, GIVEN_UP, "finished", 0, "the stage has failed: exit code 0, but it claimed nothing", id="no claim"
        ),
        pytest.param(
            "raise SystemExit(3)",
            2,
            GIVEN_UP,
            "finished",
            3,
            "the stage has failed: exit code 3, but it claimed nothing",
            id="3",
        ),
        pytest.param("raise SystemExit(1)", 2, GIVEN_UP, "failed", 1, "the stage has failed", id="failed"),
        pytest.param(
            "raise SystemExit(4)",
            2,
            GIVEN_UP,
            "failed",
            4,
            "the stage has failed: something is missing that it needs",
            id="4",
        ),
        pytest.param(
            "raise SystemExit(7)",
            2,
            GIVEN_UP,
            "failed",
            7,
            "the stage has failed: what it reads is malformed",
            id="malformed",
        ),
        pytest.param(
            "raise SystemExit(70)", 2, GIVEN_UP, "failed", 70, "another try follows, 2 at most", id="unforeseen"
        ),
        pytest.param(
            "raise SystemExit(70)", 0, GIVEN_UP, "failed", 70, "the stage has failed", id="unforeseen, the last time"
        ),
        pytest.param(
            CLAIM + "import os; os.kill(os.getpid(), 9)",
            1,
            GIVEN_UP,
            "killed",
            None,
            "another try follows, 1 at most",
            id="killed",
        ),
        pytest.param(
            "import time; time.sleep(600)",
            1,
            STOPPED,
            "cancelled",
            None,
            "stopped, as nothing new came of it for 0.5 s",
            id="hung",
        ),
    ],
)
def test_an_end_is_recorded_with_its_meaning(
    tmp_path: Path,
    code: str,
    tries_left: int,
    condition: Condition,
    reason: str,
    exit_code: int | None,
    follows: str,
) -> None:
    settings, kafka = (
        Settings(home=tmp_path, media=MediaSettings(silence_seconds=0.5 if "600" in code else 60)),
        FakeKafka(),
    )
    end(settings, kafka, code, tries_left=tries_left)
    (standing,) = ExitFiles.of(settings).read()
    (told,) = kafka.got
    assert (standing.task, standing.condition, standing.last) == (TASK, condition, told)
    assert (told.reason, told.exit_code, told.next) == (reason, exit_code, follows)


def test_of_many_media_the_newest_end_is_kept_and_kafka_has_all(tmp_path: Path) -> None:
    settings, kafka = Settings(home=tmp_path), FakeKafka()
    for code in ("raise SystemExit(1)", "raise SystemExit(4)", CLAIM):
        end(settings, kafka, code)
    (standing,) = ExitFiles.of(settings).read()
    assert [told.exit_code for told in kafka.got] == [1, 4, 0]
    assert (standing.condition, standing.last) == (DONE, kafka.got[-1])


def test_a_worker_that_is_stopped_takes_its_process_along_and_records_that(tmp_path: Path) -> None:
    class StoppedError(Exception):
        """The worker was told to stop."""

    def stop() -> None:
        raise StoppedError

    settings, kafka = Settings(home=tmp_path), FakeKafka()
    spec = stage_spec("1", (sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"), task=TASK)
    began = time.monotonic()
    with Records(settings, make_publisher=kafka.client) as records, pytest.raises(StoppedError):
        run_process(settings, spec, stop, watcher=records, tries_left=1)
    assert time.monotonic() - began < 60
    (told,) = kafka.got
    (standing,) = ExitFiles.of(settings).read()
    assert (told.task, told.reason, standing.condition) == (TASK, "cancelled", STOPPED)
