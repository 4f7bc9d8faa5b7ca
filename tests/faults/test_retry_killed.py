"""Kill a retry of dead letters with SIGKILL: each event is stored once, no letter is resolved before its event is."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psutil
import pytest

from producers.cowrie.generator import Plan, lines
from tallystick.settings import Settings
from tests.dumps import count
from tests.loads import SUCCEEDED, ask, load, old, standings, verdicts
from tests.plugins.services import apart
from tests.support import TALLY, environment, eventually, json_of, tally_here, tally_json

LETTERS = 6_000
"""Of each log."""
VICTIMS = ("retrier", "sinks raw_events", "sinks session_summaries", "all")
RESOLVED = "SELECT count(*) FROM dead_letter_events WHERE resolved"
STORED = f"{RESOLVED} AND EXISTS (SELECT FROM raw_events WHERE raw_events.digest = dead_letter_events.digest)"
STANDING = f"""
SELECT ({RESOLVED}), ({STORED}), (SELECT count(*) FROM raw_events), (SELECT sum(event_count) FROM session_summaries)
"""


class Buried(NamedTuple):
    """A database that holds letters only, and for each victim the log whose letters are retried while it is killed."""

    settings: Settings
    logs: dict[str, str]


@pytest.fixture(scope="module")
def buried(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buried]:
    """Load logs with a limit on the length of lines that is far too low."""
    folder = tmp_path_factory.mktemp("logs")
    logs = {
        victim: str(old(folder / f"{number}.json", b"".join(lines(Plan(events=LETTERS, seed=number)))))
        for number, victim in enumerate(VICTIMS, 3)
    }
    with apart(servers, home=tmp_path_factory.mktemp("home")) as settings:
        with pytest.MonkeyPatch.context() as low:
            low.setenv("TALLY_READER__MAX_LINE_BYTES", "60")
            low.setenv("TALLY_READER__MAX_DEAD_SHARE", "1")
            loaded = load(settings, str(folder))
        assert {loaded.source(log)["dead_letters"] for log in logs.values()} == {LETTERS}, loaded.said
        yield Buried(settings, logs)


@contextmanager
def retrying(settings: Settings, log: str) -> Iterator[subprocess.Popen[str]]:
    """Give a running retry of the letters of a log, which sends in small windows."""
    with subprocess.Popen(
        [*TALLY, "dlq", "retry", "--source", log],
        env={**environment(settings), "TALLY_READER__WINDOW_BYTES": "16384"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process


def role(process: subprocess.Popen[str], arguments: str) -> psutil.Process:
    """Return the process of a role under a running retry."""

    def look() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if f"tallystick.cli.run {arguments}" in " ".join(child.cmdline())]

    return eventually(look)[0]


def require_rows_of_the_resolved(settings: Settings) -> None:
    """See that each letter that is resolved has its row."""
    [(resolved, stored, _, _)] = ask(settings, STANDING)
    assert resolved == stored


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_retry_that_is_killed_goes_on_and_is_exact(buried: Buried, victim: str) -> None:
    settings, log = buried.settings, buried.logs[victim]
    before = count(settings, "raw_events")
    with retrying(settings, log) as process:
        if victim == "retrier":
            # All of it may be on its way before the first is seen, so nothing is waited for.
            role(process, victim).kill()
        else:
            eventually(lambda: count(settings, "raw_events"), until=lambda rows: rows > before)
        require_rows_of_the_resolved(settings)
        children = psutil.Process(process.pid).children(recursive=True)
        if victim == "all":
            process.send_signal(signal.SIGKILL)
            process.wait()
            eventually(lambda: [child for child in children if child.is_running()], until=lambda alive: not alive)
        elif victim != "retrier":
            role(process, victim).kill()
        while process.poll() is None:
            require_rows_of_the_resolved(settings)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        said, _ = process.communicate()
        assert victim == "all" or "SIGKILL" in said, "a death is told, not hidden"
    tally_json(settings, "dlq", "retry", "--source", log, "--json")
    now = before + LETTERS
    assert ask(settings, STANDING) == [(now, now, now, now)]
    found = [source for source in standings(settings) if source["name"].startswith("retry of")]
    assert found
    assert [verdicts(source) for source in found] == [SUCCEEDED] * len(found)
    left = json_of(tally_here(settings, "dlq", "list", "--json"))["by_reason"]
    assert sum(each["letters"] for each in left) == len(VICTIMS) * LETTERS - now
