"""The genuine log, appended live, rotated and compressed in the middle, while everything is killed three times."""

import gzip
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tallystick.settings import Settings
from tests import sample
from tests.loads import SUCCEEDED, ask, standings, verdicts
from tests.support import TALLY, environment, eventually, tally_json
from tests.warm import Command

EVENTS, SESSIONS = sample.EVENTS, sample.SESSIONS
BATCH = 50
KILLED_AFTER = (800, 1_900, 2_700)
"""After how many lines all processes are killed."""
ROTATED_AFTER = 1_776


@contextmanager
def service(settings: Settings, log: Path) -> Iterator[Command]:
    """Run `tally run all` on a log; in the end it must stop by itself on SIGTERM."""
    env = {**environment(settings), "TALLY_FOLLOW__QUIET_SECONDS": "1"}
    with (settings.home / "service.log").open("ab") as said:
        process = Command([*TALLY, "run", "all", str(log)], env=env, output=said)
    try:
        yield process
        if process.poll() is None:
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        if process.poll() is None:
            kill_all(process)


def kill_all(process: Command) -> None:
    """Kill the service and all its roles at once, as a power cut would."""
    service = psutil.Process(process.pid)
    for member in [service, *service.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def rows(settings: Settings) -> int:
    """Rows in the database; 0 before it has tables."""
    with suppress(Exception):
        return int(ask(settings, "SELECT count(*) FROM raw_events")[0][0])
    return 0


def append(log: Path, lines: list[bytes]) -> None:
    """Append lines as Cowrie does: each one by itself, and the last one of them in two parts."""
    with log.open("ab", buffering=0) as file:
        for line in lines[:-1]:
            file.write(line)
        file.write(lines[-1][:20])
        time.sleep(0.05)
        file.write(lines[-1][20:])


@pytest.mark.timeout(420)
def test_the_sample_arrives_exactly_however_often_everything_is_killed(settings: Settings, tmp_path: Path) -> None:
    whole = [line + b"\n" for line in sample.LINES]
    settings.home.mkdir(parents=True, exist_ok=True)
    log = tmp_path / "cowrie.json"
    archive = tmp_path / "cowrie.json.2026-11-23"
    written = 0
    for part in (*KILLED_AFTER, EVENTS):
        with service(settings, log) as process:
            before = rows(settings)
            while written < part:
                lines = whole[written : min(written + BATCH, part)]
                append(log, lines)
                written += len(lines)
                if written >= ROTATED_AFTER and not archive.with_name(archive.name + ".gz").exists():
                    rotate(log, archive)
            if part < EVENTS:
                eventually(lambda seen=before: rows(settings) > seen, seconds=90)  # type: ignore[misc]
                kill_all(process)
            else:
                finish(settings, log)
    stored = "SELECT count(*), count(DISTINCT (sensor, session_id)) FROM raw_events"
    assert ask(settings, stored) == [(EVENTS, SESSIONS)]
    assert ask(settings, "SELECT sum(event_count), count(*) FROM session_summaries") == [(EVENTS, SESSIONS)]
    assert ask(settings, "SELECT count(*) FROM dead_letter_events") == [(0,)]


def rotate(log: Path, archive: Path) -> None:
    """Rotate as Cowrie and logrotate do: rename, write on to a new file later, and compress the old one."""
    log.rename(archive)
    archive.with_name(archive.name + ".gz").write_bytes(gzip.compress(archive.read_bytes()))
    archive.unlink()


def finish(settings: Settings, log: Path) -> None:
    """See the first part verified and the second one live and up to date; then rotate that, and see it verified."""
    eventually(lambda: rows(settings), until=lambda seen: seen == EVENTS, seconds=90)
    by_name = eventually(
        lambda: {Path(source["name"]).name: source for source in standings(settings)},
        until=lambda found: (
            any(verdicts(source) == SUCCEEDED for source in found.values())
            and (live := found["cowrie.json"]["live"]) is not None
            and live["behind"] == 0
        ),
        seconds=90,
    )
    assert len(by_name) == 2
    assert not any(verdicts(by_name["cowrie.json"]).values()), "nothing is said of a live source"
    log.rename(log.with_name("cowrie.json.2026-11-24"))
    eventually(
        lambda: standings(settings),
        until=lambda seen: all(verdicts(source) == SUCCEEDED for source in seen),
        seconds=90,
    )
    found = tally_json(settings, "sources", "--json")
    assert sorted(source["events"] for source in found) == sorted([ROTATED_LINES, EVENTS - ROTATED_LINES])
    assert [source["live"] for source in found] == [None, None]


ROTATED_LINES = 1_800
"""The batch in which ROTATED_AFTER is reached is written to its end first."""
