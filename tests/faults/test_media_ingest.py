"""`tally media ingest` as its users run it: twice at once, told to stop, killed, on servers that aren't ready.

The numbers are those of the faults in docs/reference/media-faults.md.
"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from producers.media.identifying import look_at
from sinks.media.locks import MediumLocks
from tallystick.cli.media.worker import run_worker
from tallystick.contracts.media import ARCHIVED, COPIED, ENUMERATED, MEDIA, ExitCode
from tallystick.contracts.topics import TASK_EXITS
from tallystick.database.engine import make_engine
from tallystick.errors import ConfigurationError
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings
from tallystick.supervision.exit_files import ExitFiles
from tallystick.supervision.standing import Condition
from tests.media_dumps import dump
from tests.media_world import plant, plant_wild
from tests.sinks import query, ready
from tests.support import TALLY, environment, eventually, tally
from tests.warm import Command

SECONDS = 300.0
WORKER = "media/media-worker-1"
"""What the worker of an ingestion is called in the records of its ends."""


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    """An engine for the settings' database, migrated."""
    made = ready(settings)
    yield made
    made.dispose()


def ingest(settings: Settings, *targets: Path) -> Command:
    return Command(
        [*TALLY, "media", "ingest", "--workers=1", "--json", *map(str, targets)],
        env={**environment(settings), "TALLY_MEDIA__LEASE_SECONDS": "6"},
    )


def ended(process: Command) -> tuple[int, str]:
    """Return the exit code of a command once it has ended, and what it wrote."""
    out, err = process.communicate(timeout=SECONDS)
    return process.wait(), out + err


def begun(settings: Settings, medium: str, stage: str, *, after: int = 0) -> int:
    """Wait until a stage of a medium is worked on, by a later run than `after`; return the run."""
    engine = make_engine(settings)
    text = f"SELECT run FROM media_runs WHERE medium = '{medium}' AND stage = '{stage}' AND run > {after}"
    (run, *_) = eventually(lambda: query(engine, text), seconds=SECONDS)
    engine.dispose()
    return int(run[0])


def children(process: Command) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_20_21_of_two_at_one_medium_one_works_and_another_medium_of_the_same_contents_is_no_hindrance(
    settings: Settings, engine: sa.Engine, tmp_path: Path
) -> None:
    one, other = (plant(tmp_path / name, "at once", files=3) for name in ("one", "other"))
    first, second, third = ingest(settings, one), ingest(settings, one), ingest(settings, other)
    codes = [ended(process) for process in (first, second, third)]
    assert sorted(code for code, _ in codes[:2]) == [ExitCode.DONE, ExitCode.LOCKED], codes
    assert codes[2][0] == ExitCode.DONE, codes[2][1]
    assert query(engine, "SELECT count(*), max(attempt) FROM sources WHERE kind = 'media.tree'") == [(2, 1)]
    assert query(engine, "SELECT count(*), count(DISTINCT blobid) FROM media_copies") == [(6, 3)]
    # A command whose worker gives it away before it has committed may be carried out twice, to the same end.
    done = "SELECT stage, count(DISTINCT medium) FROM media_runs WHERE exit_code = 0 GROUP BY 1 ORDER BY 1"
    assert query(engine, done) == [
        (ARCHIVED, 2),
        (COPIED, 2),
        (ENUMERATED, 2),
    ]
    at_once = "a.medium = b.medium AND a.run < b.run AND (a.ended_at IS NULL OR a.ended_at > b.started_at)"
    assert query(engine, f"SELECT a.run, b.run FROM media_runs a JOIN media_runs b ON {at_once}") == []


def test_20_a_medium_that_another_run_holds_is_left_to_it(
    settings: Settings, engine: sa.Engine, tmp_path: Path
) -> None:
    root = plant(tmp_path / "tree", "held", files=1)
    with MediumLocks(engine, settings.home / "locks") as locks:
        assert locks.take(look_at(str(root)).medium)
        done = tally(settings, "media", "ingest", "--json", str(root))
    assert done.returncode == ExitCode.LOCKED
    assert json.loads(done.stdout)["locked"] == [str(root)]
    assert list(read_whole(settings, settings.kafka.topic(MEDIA), client_id="test")) == []


def test_8_55_what_was_stopped_and_killed_again_and_again_ends_as_if_nothing_had_been(
    settings: Settings, engine: sa.Engine, tmp_path: Path
) -> None:
    root, calm = (plant_wild(tmp_path / name, "stopped").resolve() for name in ("tree", "calm"))
    medium = look_at(str(root)).medium

    process = ingest(settings, root)
    run = begun(settings, medium, ENUMERATED)
    below = children(process)
    process.send_signal(signal.SIGTERM)
    code, told = ended(process)
    assert code in {ExitCode.INTERRUPTED, 128 + signal.SIGTERM}, told
    assert gone(below), "who is told to stop takes its processes along"
    assert query(engine, f"SELECT count(*) FROM media_leases WHERE medium = '{medium}' AND expires_at > now()") == [
        (0,)
    ]

    process = ingest(settings, root)
    run = begun(settings, medium, COPIED, after=run)
    below = children(process)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    eventually(lambda: gone(below), seconds=60)

    process = ingest(settings, root, calm)
    begun(settings, medium, ARCHIVED, after=run)
    (worker,) = [child for child in children(process) if "media-worker" in child.cmdline()]
    worker.kill()
    code, told = ended(process)
    assert code == ExitCode.DONE, told
    assert dump(settings, engine, medium, root) == dump(settings, engine, look_at(str(calm)).medium, calm)
    stood = [standing for standing in ExitFiles.of(settings).read() if standing.task.startswith(f"{WORKER}/")]
    stages = [f"{WORKER}/{stage}" for stage in (ARCHIVED, COPIED, ENUMERATED)]
    assert [(standing.task, standing.condition) for standing in stood] == [(task, Condition.DONE) for task in stages]
    topic = settings.kafka.topic(TASK_EXITS)
    keys = {(message.key() or b"").decode() for message in read_whole(settings, topic, client_id="test")}
    assert keys >= {WORKER, *stages}


def test_45_a_database_that_is_away_is_no_success_and_nothing_begins(settings: Settings, tmp_path: Path) -> None:
    away = settings.database.model_copy(update={"url": SecretStr("postgresql://nobody@127.0.0.1:9/none")})
    done = tally(settings.model_copy(update={"database": away}), "media", "ingest", str(plant(tmp_path / "tree", "x")))
    assert done.returncode == ExitCode.OTHER
    assert "succeeded" not in done.stdout
    assert list(read_whole(settings, settings.kafka.topic(MEDIA), client_id="test")) == []


def test_46_a_database_of_another_version_ends_the_worker_at_once(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        run_worker(settings, lambda: False)
