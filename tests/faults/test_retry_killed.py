"""Kill a retry of dead letters with SIGKILL: each event is stored once, no letter is resolved before its event is."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from producers.cowrie.generator import Plan, lines
from tallystick.settings import Settings
from tests.dumps import count
from tests.loads import SUCCEEDED, ask, load, old, standings, verdicts
from tests.support import TALLY, environment, eventually, json_of, tally_here, tally_json
from tests.warm import Command

LETTERS = 6_000
STANDING = """
SELECT (SELECT count(*) FROM dead_letter_events WHERE resolved), (SELECT count(*) FROM raw_events),
  (SELECT count(*) FROM raw_events JOIN dead_letter_events ON raw_events.digest = dead_letter_events.digest
   WHERE resolved)
"""


@pytest.fixture
def buried(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a database that holds letters only: the limit on the length of lines was far too low."""
    log = old(tmp_path / "cowrie.json", b"".join(lines(Plan(events=LETTERS, seed=3))))
    with monkeypatch.context() as low:
        low.setenv("TALLY_READER__MAX_LINE_BYTES", "60")
        low.setenv("TALLY_READER__MAX_DEAD_SHARE", "1")
        loaded = load(settings, str(log))
    assert loaded.source(log)["dead_letters"] == LETTERS, loaded.said
    return settings


@contextmanager
def retrying(settings: Settings) -> Iterator[Command]:
    """Give a running retry, which sends in small windows."""
    small = {"TALLY_READER__WINDOW_BYTES": "16384"}
    with Command([*TALLY, "dlq", "retry"], env={**environment(settings), **small}, merged=True) as process:
        yield process


def role(process: Command, arguments: str) -> psutil.Process:
    """Return the process of a role under a running retry."""

    def look() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if f"tallystick.cli.run {arguments}" in " ".join(child.cmdline())]

    return eventually(look)[0]


def require_rows_of_the_resolved(settings: Settings) -> int:
    """Return how many letters are resolved; each of them must have its row by then."""
    [(resolved, _, with_row)] = ask(settings, STANDING)
    assert resolved == with_row
    return int(resolved)


@pytest.mark.parametrize("victim", ["retrier", "sinks raw_events", "sinks session_summaries", "all"])
def test_a_retry_that_is_killed_goes_on_and_is_exact(buried: Settings, victim: str) -> None:
    with retrying(buried) as process:
        if victim == "retrier":
            # All of it may be on its way before the first is seen, so nothing is waited for.
            role(process, victim).kill()
        else:
            eventually(lambda: count(buried, "raw_events"), until=lambda rows: rows > 0)
        require_rows_of_the_resolved(buried)
        children = psutil.Process(process.pid).children(recursive=True)
        if victim == "all":
            process.send_signal(signal.SIGKILL)
            process.wait()
            eventually(lambda: [child for child in children if child.is_running()], until=lambda alive: not alive)
        elif victim != "retrier":
            role(process, victim).kill()
        while process.poll() is None:
            require_rows_of_the_resolved(buried)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        said, _ = process.communicate()
        assert victim == "all" or "SIGKILL" in said, "a death is told, not hidden"
    tally_json(buried, "dlq", "retry", "--json")
    assert ask(buried, STANDING) == [(LETTERS, LETTERS, LETTERS)]
    [(events,)] = ask(buried, "SELECT sum(event_count) FROM session_summaries")
    assert events == LETTERS
    found = [source for source in standings(buried) if source["name"].startswith("retry of")]
    assert found
    assert [verdicts(source) for source in found] == [SUCCEEDED] * len(found)
    assert json_of(tally_here(buried, "dlq", "list", "--json"))["total"] == 0
