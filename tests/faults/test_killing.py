"""Kill any process with SIGKILL in the middle of a load: rows, counts and verdicts are those of an undisturbed load."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from producers.cowrie.generator import Plan, lines
from tallystick.local import stack
from tallystick.settings import Settings, load_settings
from tests.dumps import count, dump
from tests.support import TALLY, environment, eventually, tally
from tests.warm import Command

EVENTS = 20_000
ROLES = ("reader", "agents", "sinks raw_events", "sinks session_summaries", "sinks inventories", "verifier")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with good lines, bad lines and a session-less event, large enough to be killed in the middle."""
    path = tmp_path_factory.mktemp("logs") / "cowrie.json"
    with path.open("wb") as file:
        for number, line in enumerate(lines(Plan(events=EVENTS, seed=11))):
            file.write(line)
            if number % 5_000 == 0:
                file.write(b"not JSON %d\n" % number)
        file.write(b'{"eventid":"x.y","timestamp":"2026-01-01T00:00:00Z","sensor":"honeypot"}\n')
    return path


@pytest.fixture(scope="module")
def undisturbed(servers: Settings, log: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The dump of a load in which nothing was killed."""
    settings = servers.model_copy(
        update={
            "home": tmp_path_factory.mktemp("undisturbed"),
            "kafka": servers.kafka.model_copy(update={"topic_prefix": f"undisturbed{os.getpid()}."}),
            "database": servers.database.model_copy(update={"schema_name": f"undisturbed{os.getpid()}"}),
        }
    )
    done = tally(settings, "load", str(log))
    assert done.returncode == 0, done.stdout + done.stderr
    return dump(settings)


def load(settings: Settings, log: Path, *, window_bytes: int = 16_384) -> Command:
    """Start a load that sends and stores little at a time, so that there is a middle to kill it in."""
    small = {"TALLY_READER__WINDOW_BYTES": str(window_bytes), "TALLY_SINKS__BATCH_RECORDS": "500"}
    return Command([*TALLY, "load", str(log)], env={**environment(settings), **small}, merged=True)


def role(process: Command, arguments: str) -> psutil.Process:
    """Return the process of a role under a running load."""

    def look() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if f"tallystick.cli.run {arguments}" in " ".join(child.cmdline())]

    return eventually(look)[0]


def finish(process: Command, *, seconds: float) -> str:
    """Return all that a load wrote; one that doesn't end is stopped, so that it tells what it waits for."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        pytest.fail(f"the load did not end in {seconds:.0f} s:\n{output}")
    return output


def in_the_middle(settings: Settings) -> None:
    eventually(lambda: count(settings, "raw_events"), until=lambda rows: rows > 0)
    assert count(settings, "raw_events") < EVENTS, "the load was over before anything could be killed"


@pytest.mark.parametrize("victim", ROLES)
def test_a_role_that_is_killed_is_started_again_and_nothing_is_lost_or_counted_twice(
    victim: str, settings: Settings, log: Path, undisturbed: dict[str, list[str]]
) -> None:
    # The reader must not be done before the first rows are seen.
    process = load(settings, log, window_bytes=4_096 if victim == "reader" else 16_384)
    in_the_middle(settings)
    role(process, victim).kill()
    output = finish(process, seconds=120)
    assert process.returncode == 0, output
    assert "SIGKILL" in output, "a death is told, not hidden"
    assert dump(settings) == undisturbed
    assert tally(settings, "load", str(log)).returncode == 0
    assert dump(settings) == undisturbed, "a second load changes no row"


def test_the_load_itself_is_killed_and_the_next_one_goes_on(
    settings: Settings, log: Path, undisturbed: dict[str, list[str]]
) -> None:
    process = load(settings, log)
    in_the_middle(settings)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: [child for child in children if child.is_running()], until=lambda alive: not alive)
    done = tally(settings, "load", str(log))
    assert done.returncode == 0, done.stdout + done.stderr
    assert dump(settings) == undisturbed


def test_ctrl_c_stops_cleanly_and_the_next_load_goes_on(
    settings: Settings, log: Path, undisturbed: dict[str, list[str]]
) -> None:
    process = load(settings, log)
    in_the_middle(settings)
    process.send_signal(signal.SIGINT)
    output = finish(process, seconds=60)
    assert process.returncode == 130, output
    assert "the next run goes on from there" in output
    done = tally(settings, "load", str(log))
    assert done.returncode == 0, done.stdout + done.stderr
    assert dump(settings) == undisturbed


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Settings]:
    """Settings with a local stack of their own, whose servers may be killed."""
    mine = load_settings().model_copy(update={"home": tmp_path / "home"})
    if mine.kafka.bootstrap_servers or mine.database.url:
        pytest.skip("optional: the configured servers are not ours to kill")
    try:
        stack.up(mine)
        yield mine
    finally:
        stack.down(mine)


def pids(settings: Settings, name: str) -> list[int]:
    return [service.pid for service in stack.status(settings) if service.name == name and service.pid]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victims", [pytest.param(("kafka",), id="broker"), pytest.param(("database",), id="postgres")])
def test_a_server_that_is_killed_comes_back_with_everything(
    victims: tuple[str, ...], own_stack: Settings, log: Path, undisturbed: dict[str, list[str]]
) -> None:
    process = load(own_stack, log)
    resolved = stack.resolve(own_stack)
    in_the_middle(resolved)
    for victim in victims:
        for pid in pids(own_stack, victim):
            kill_all(pid)
    output = finish(process, seconds=420)
    assert process.returncode == 0, output
    again = tally(own_stack, "load", str(log), seconds=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert dump(stack.resolve(own_stack)) == undisturbed


def kill_all(pid: int) -> None:
    """Kill a server and its children at once, as a power cut would."""
    server = psutil.Process(pid)
    for member in [server, *server.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
