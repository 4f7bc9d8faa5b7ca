"""What tests of `tally load` look at: how a load ended, what the database then holds, and what its reader needed."""

import json
import os
import re
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import sqlalchemy as sa

from sinks.schema import dead_letter_events, raw_events
from sinks.standing import read_standings
from tallystick.cli.sources import standing_as_dict
from tallystick.settings import Settings
from tests.engines import kept_engine
from tests.support import TALLY, environment, tally

STAGES = ("read", "persisted", "aggregated", "derived", "verified")
SUCCEEDED = dict.fromkeys(STAGES, "succeeded")
LONG_AGO = 1_700_000_000


class Row(NamedTuple):
    """What is stored of one event. `raw` are its bytes where the payload holds escapes instead."""

    sensor: str
    session: str
    kind: str
    payload: Any
    raw: bytes | None


class Letter(NamedTuple):
    """What is stored of one dead letter, or of one piece of it."""

    position: int
    piece: int
    reason: str
    payload: bytes


class Loaded(NamedTuple):
    """How `tally load --json` ended: its exit code, the JSON of its standard output, its standard error."""

    code: int
    result: dict[str, Any]
    said: str

    def source(self, path: Path | str) -> dict[str, Any]:
        """The source of that name."""
        [found] = [source for source in self.result["sources"] if source["name"] == str(path)]
        return found  # type: ignore[no-any-return]


def load(settings: Settings, *arguments: str) -> Loaded:
    """Run `tally load … --json` to its end."""
    done = tally(settings, "load", "--json", *arguments)
    return Loaded(done.returncode, _document(done.stdout, done.stderr), done.stderr)


def load_watched(settings: Settings, *arguments: str) -> tuple[Loaded, int]:
    """The same, and the most memory that its reader held, in bytes."""
    peak = [0]
    with subprocess.Popen(
        [*TALLY, "load", "--json", *arguments],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        watcher = threading.Thread(target=_watch_reader, args=(process, peak))
        watcher.start()
        output, said = process.communicate(timeout=120)
        watcher.join()
    return Loaded(process.returncode, _document(output, said), said), peak[0]


def verdicts(source: dict[str, Any]) -> dict[str, str | None]:
    """Verdict by stage."""
    return {stage["stage"]: stage["verdict"] for stage in source["stages"]}


def stored(settings: Settings, source: str) -> dict[int, Row]:
    """What the database holds of a source's events, by position."""
    columns = (raw_events.c[name] for name in ("source_offset", "sensor", "session_id", "event_type", "payload", "raw"))
    found = ask(settings, sa.select(*columns).where(raw_events.c.source_id == source))
    return {position: Row(*rest) for position, *rest in found}


def letters(settings: Settings, source: str) -> list[Letter]:
    """What the database holds of a source's dead letters, in order. All of them must be the reader's."""
    table = dead_letter_events
    columns = (table.c[name] for name in ("source_offset", "piece", "reason", "payload", "origin"))
    query = sa.select(*columns).where(table.c.source_id == source).order_by(table.c.source_offset, table.c.piece)
    found = ask(settings, query)
    assert {origin for *_, origin in found} <= {"read"}
    return [Letter(*letter) for *letter, _ in found]


def ask(settings: Settings, query: sa.Select[Any] | str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with kept_engine(settings).connect() as connection:
        statement = sa.text(query) if isinstance(query, str) else query
        return [tuple(row) for row in connection.execute(statement)]


def standings(settings: Settings) -> list[dict[str, Any]]:
    """What `tally sources --json` prints, without a process for every look; nothing before the database has tables."""
    try:
        with kept_engine(settings).connect() as connection:
            return [standing_as_dict(standing) for standing in read_standings(connection)]
    except sa.exc.ProgrammingError:
        return []


def old(path: Path, content: bytes) -> Path:
    """Write a file that nobody writes to any more."""
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def shares(said: str) -> list[tuple[str, int, int, int]]:
    """Return (stage, percent, done, total) of everything that progress lines tell."""
    found = re.findall(r"(\w+) (\d+) % \(([\d,]+)/([\d,]+) ", said)
    return [(name, int(share), *(int(number.replace(",", "")) for number in counts)) for name, share, *counts in found]


def _document(output: str, said: str) -> dict[str, Any]:
    try:
        return json.loads(output)  # type: ignore[no-any-return]
    except ValueError:
        raise AssertionError(f"no JSON: {output}\n{said}") from None


def _watch_reader(load_process: subprocess.Popen[str], peak: list[int]) -> None:
    readers: list[psutil.Process] = []
    while load_process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            readers = readers or [
                child
                for child in psutil.Process(load_process.pid).children(recursive=True)
                if "tallystick.cli.run reader" in " ".join(child.cmdline())
            ]
            peak[0] = max([peak[0], *(reader.memory_info().rss for reader in readers)])
        with suppress(subprocess.TimeoutExpired):
            load_process.wait(0.02)
