"""`tally run all`: what it does when a role ends, when it is told to stop, and when it can't help."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from tallystick.settings import Settings
from tests.loads import ask, standings
from tests.support import TALLY, environment, eventually, tally

LINE = b'{"eventid":"cowrie.%d","timestamp":"2026-11-23T03:43:44.000000Z","session":"s","sensor":"hp"}\n'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "cowrie.json"


@pytest.fixture
def service(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "service.log").open("wb") as said:
        process = subprocess.Popen(
            [*TALLY, "run", "all", str(log)], env=environment(settings), stdout=said, stderr=said
        )
    yield process
    if process.poll() is None:
        process.terminate()
    process.wait(60)


def said(settings: Settings, event: str) -> list[dict[str, Any]]:
    lines = (settings.home / "service.log").read_bytes().splitlines()
    return [found for line in lines if (found := orjson.loads(line))["event"] == event]


def live(settings: Settings) -> dict[str, Any] | None:
    found = standings(settings)
    return found[0]["live"] if found else None


def reader(service: subprocess.Popen[bytes]) -> psutil.Process:
    def look() -> list[psutil.Process]:
        children = psutil.Process(service.pid).children(recursive=True)
        return [child for child in children if "tallystick.cli.run reader" in " ".join(child.cmdline())]

    return eventually(look)[0]


def test_a_role_that_dies_is_told_of_and_started_again_and_the_log_goes_on(
    settings: Settings, service: subprocess.Popen[bytes], log: Path
) -> None:
    log.write_bytes(LINE % 1)
    eventually(lambda: live(settings), until=lambda found: found is not None and found["behind"] == 0)
    reader(service).kill()
    [ended] = eventually(lambda: said(settings, "role ended"))
    assert (ended["role"], ended["reason"], ended["signal"]) == ("reader", "killed", "SIGKILL")
    assert ended["detail"].startswith("restart 1 in ")
    with log.open("ab") as file:
        file.write(LINE % 2)
    eventually(lambda: ask(settings, "SELECT count(*) FROM raw_events"), until=lambda rows: rows == [(2,)])
    eventually(lambda: live(settings), until=lambda found: found is not None and found["position"] == 2 * len(LINE % 1))
    outcomes = ask(settings, "SELECT attempt FROM sources")
    assert outcomes == [(2,)]


def test_sigterm_stops_every_role_cleanly(settings: Settings, service: subprocess.Popen[bytes], log: Path) -> None:
    log.write_bytes(LINE % 1)
    eventually(lambda: live(settings), until=lambda found: found is not None and found["behind"] == 0)
    children = psutil.Process(service.pid).children(recursive=True)
    service.send_signal(signal.SIGTERM)
    assert service.wait(60) == 143
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    ends = {ended["role"]: ended["reason"] for ended in said(settings, "role ended")}
    assert {role.partition("-")[0] for role in ends} == {"reader", "agents", "sinks", "verifier", "all"}
    assert set(ends.values()) == {"cancelled"}


def test_what_another_start_cannot_help_ends_the_service_with_its_exit_code(settings: Settings, log: Path) -> None:
    done = tally(settings, "run", "all", "--sensor", "a\tb", str(log))
    assert done.returncode == 2, done.stderr
    assert "can't be a sensor's name" in done.stderr
    os.environ["TALLY_FOLLOW__WATCH"] = "sometimes"
    try:
        done = tally(settings, "run", "all", str(log))
    finally:
        del os.environ["TALLY_FOLLOW__WATCH"]
    assert done.returncode == 78, done.stderr
    assert "follow.watch" in done.stderr
