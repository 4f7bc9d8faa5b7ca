"""Stop a replay again and again: it goes on with whatever runs its sinks, and ends in the tables that there were."""

from pathlib import Path
from signal import SIGINT, SIGKILL, Signals

from producers.cowrie.generator import Plan, lines
from sinks.refills import read_refills
from tallystick.database.engine import make_engine
from tallystick.settings import Settings
from tests.dumps import dump
from tests.support import TALLY, environment, eventually, tally, tally_here
from tests.warm import Command

EVENTS = 20_000
SINKS = ("raw_events", "session_summaries", "inventories")


def test_a_replay_that_is_stopped_is_brought_to_its_end_by_the_next_load(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    with log.open("wb") as file:
        file.writelines(lines(Plan(events=EVENTS, seed=12)))
    assert tally(settings, "load", str(log)).returncode == 0
    before = dump(settings)
    for number, code in ((SIGKILL, -SIGKILL), (SIGINT, 130), (SIGKILL, -SIGKILL)):
        assert stop_in_the_middle(settings, number) == code
        assert "are being filled again:" in tally_here(settings, "sources").stdout
    assert dump(settings) != before
    done = tally(settings, "load", str(log))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "being filled again" not in tally_here(settings, "sources").stdout, "a load that succeeds leaves nothing out"
    assert dump(settings) == before


def stop_in_the_middle(settings: Settings, number: Signals) -> int:
    """Start a replay, and stop it once some of the records have come again, but not all. Returns its exit code."""
    engine = make_engine(settings)

    def done() -> dict[str, int]:
        with engine.connect() as connection:
            return {sink: refill.done for sink, refill in read_refills(connection).items()}

    before = done()

    def is_emptied() -> bool:
        return any(sink not in before or taken < before[sink] for sink, taken in done().items())

    small_batches = {**environment(settings), "TALLY_SINKS__BATCH_RECORDS": "20"}
    with Command([*TALLY, "db", "replay", *SINKS, "--yes"], env=small_batches) as process:
        eventually(is_emptied)
        eventually(lambda: any(done().values()))
        process.send_signal(number)
    assert done(), "the replay was over before it could be stopped"
    engine.dispose()
    return process.wait()
