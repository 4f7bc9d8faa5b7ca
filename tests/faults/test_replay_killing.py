"""Kill a replay again and again: it goes on with whatever runs its sinks, and ends in the tables that there were."""

import subprocess
from pathlib import Path

from producers.cowrie.generator import Plan, lines
from sinks.refills import read_refills
from tallystick.database.engine import make_engine
from tallystick.settings import Settings
from tests.dumps import dump
from tests.support import TALLY, environment, eventually, tally

EVENTS = 60_000
SINKS = ("raw_events", "session_summaries", "inventories")
KILLS = 3


def test_a_replay_that_is_killed_is_brought_to_its_end_by_the_next_load(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    with log.open("wb") as file:
        file.writelines(lines(Plan(events=EVENTS, seed=12)))
    assert tally(settings, "load", str(log)).returncode == 0
    before = dump(settings)
    for _ in range(KILLS):
        kill_in_the_middle(settings)
        assert "are being filled again:" in tally(settings, "sources").stdout
    assert dump(settings) != before
    done = tally(settings, "load", str(log))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "being filled again" not in tally(settings, "sources").stdout, "a load that succeeds leaves nothing out"
    assert dump(settings) == before


def kill_in_the_middle(settings: Settings) -> None:
    """Start a replay, and kill it once some of the records have come again, but not all."""
    engine = make_engine(settings)

    def is_under_way() -> bool:
        with engine.connect() as connection:
            return any(0 < refill.done < refill.total for refill in read_refills(connection).values())

    small_batches = {**environment(settings), "TALLY_SINKS__BATCH_RECORDS": "50"}
    with subprocess.Popen(
        [*TALLY, "db", "replay", *SINKS, "--yes"], env=small_batches, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        eventually(lambda: is_under_way() or process.poll() is not None)
        assert process.poll() is None, "the replay was over before it could be killed"
        process.kill()
    engine.dispose()
