"""`tally run all`: what it does when a role ends, when it is told to stop, and when it can't help."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import psutil
import pytest

from tallystick.contracts.tasks import TaskExit, decode
from tallystick.contracts.topics import TASK_EXITS
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings
from tests.loads import ask, standings
from tests.support import TALLY, environment, eventually, json_of, tally, tally_here

LINE = b'{"eventid":"cowrie.%d","timestamp":"2026-11-23T03:43:44.000000Z","session":"s","sensor":"hp"}\n'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "cowrie.json"


@pytest.fixture
def service(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "service.log").open("wb") as said:
        process = subprocess.Popen(
            [*TALLY, "run", "all", "--metrics-port", "0", str(log)], env=environment(settings), stdout=said, stderr=said
        )
    yield process
    if process.poll() is None:
        process.terminate()
    process.wait(60)


def said(settings: Settings, event: str) -> list[dict[str, Any]]:
    lines = (settings.home / "service.log").read_bytes().splitlines()
    return [found for line in lines if (found := orjson.loads(line))["event"] == event]


def exits(settings: Settings) -> list[TaskExit]:
    found = read_whole(settings, settings.kafka.topic(TASK_EXITS), client_id="test")
    return [decode(value) for message in found if (value := message.value())]


def page(settings: Settings, name: str) -> str:
    [served] = said(settings, "metrics are served")
    with urllib.request.urlopen(served["url"].replace("metrics", name), timeout=20) as answer:
        return str(answer.read().decode())


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
    [told] = exits(settings)
    assert (told.task, told.reason, told.signal) == ("all/reader", "killed", "SIGKILL")
    tasks = {task["task"]: task for task in json_of(tally_here(settings, "status", "--json"))["tasks"]}
    assert set(tasks) > {"all/reader", "all/agents", "all/verifier"}
    assert {task["condition"] for task in tasks.values()} == {"running"}
    assert tasks["all/reader"]["last_exit"] == msgspec.structs.asdict(told)
    pages = {name: page(settings, name) for name in ("metrics", "health", "ready")}
    assert 'tally_task_exits_total{reason="killed",task="all/reader"} 1.0' in pages["metrics"]
    assert {task["task"]: task["state"] for task in json.loads(pages["health"])["tasks"]} == dict.fromkeys(
        tasks, "running"
    )
    assert json.loads(pages["ready"])["ready"]


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
    told = {ended.task.removeprefix("all/"): ended.reason for ended in exits(settings)}
    assert told == {role: reason for role, reason in ends.items() if role != "all"}


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
