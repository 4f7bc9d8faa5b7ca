"""The main job, by the real command: files in, and every source has its verdict, in any database and however often."""

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from tallystick.contracts.cowrie import EVENTS
from tallystick.database.engine import make_engine
from tallystick.kafka.consuming import read_whole
from tallystick.settings import Settings
from tests.dumps import count, dump
from tests.loads import STAGES, SUCCEEDED, Loaded, ask, load, old, shares, stored, verdicts
from tests.plugins.services import apart
from tests.support import SAMPLE, tally, tally_json

GROWING = "growing"


def event(number: int, *, session: str = "s", sensor: str = "pot") -> bytes:
    at = f"2026-11-23T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    named = {"eventid": "cowrie.x", "timestamp": at, "session": session, "sensor": sensor, "n": number}
    return json.dumps(named).encode() + b"\n"


WHOLE = [event(number, session=f"s{number % 7}") for number in range(600)]
OTHER = [event(number, session=f"s{number % 7}", sensor="other pot") for number in range(50)]
FILES = {
    "a.json": WHOLE,
    "a.json.again": WHOLE,
    "b.prefix.json": WHOLE[:200],
    "c.middle.json": WHOLE[150:450],
    "d.concatenation.json": OTHER + WHOLE[300:],
    "e.other.sensor.json": OTHER[10:],
}
PATHS_OF_WHOLE = 3


class World(NamedTuple):
    """A folder of files that overlap, one that grows and the genuine sample: loaded, again, and into SQLite."""

    settings: Settings
    sqlite: Settings
    folder: Path
    written: list[bytes]
    first: Loaded
    held: dict[str, list[str]]
    again: CompletedProcess[str]
    held_again: dict[str, list[str]]
    second: Loaded
    records: tuple[int, int]

    def source(self, name: str) -> dict[str, Any]:
        return self.first.source(self.folder / name)


@pytest.fixture(scope="module")
def world(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("logs")
    for name, lines in FILES.items():
        old(folder / name, b"".join(lines))
    old(folder / "a.json.gz", gzip.compress(b"".join(WHOLE)))
    paths = [str(folder), *([str(SAMPLE)] if SAMPLE.exists() else [])]
    with apart(servers, home=home) as settings:
        with growing(folder / f"{GROWING}.json") as written:
            first = load(settings, *paths)
        held = dump(settings)
        again = tally(settings, "load", *paths)
        held_again, before = dump(settings), events_in_kafka(settings)
        url = f"sqlite:///{folder / 'tally.db'}"
        second = load(settings, *paths, "--database", url)
        yield World(
            settings=settings,
            sqlite=with_sqlite(settings, folder / "tally.db"),
            folder=folder,
            written=written,
            first=first,
            held=held,
            again=again,
            held_again=held_again,
            second=second,
            records=(before, events_in_kafka(settings)),
        )


@contextmanager
def growing(path: Path) -> Iterator[list[bytes]]:
    """Give the lines of a file that is written to all the while, half a line at a time."""
    written: list[bytes] = []
    done = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            while not done.wait(0.002):
                line = event(len(written), session=GROWING, sensor=GROWING)
                file.write(line[:40])
                file.write(line[40:])
                written.append(line)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        done.set()
        writer.join()


def with_sqlite(settings: Settings, path: Path) -> Settings:
    database = settings.database.model_validate({"url": f"sqlite:///{path}"})
    return settings.model_copy(update={"database": database})


def events_in_kafka(settings: Settings) -> int:
    return sum(1 for _ in read_whole(settings, settings.kafka.topic(EVENTS), client_id="test"))


def without_growing(held: dict[str, list[str]], source: str) -> dict[str, list[str]]:
    return {
        table: [row for row in rows if GROWING not in row and source not in row] for table, rows in held.items()
    }


def test_every_source_has_its_four_verdicts_and_the_load_succeeds(world: World) -> None:
    assert world.first.code == 0, world.first.said
    assert world.first.result["succeeded"] is True
    assert world.first.result["problems"] == []
    assert [verdicts(source) for source in world.first.result["sources"]] == [SUCCEEDED] * len(
        world.first.result["sources"]
    )


def test_the_same_file_under_two_names_and_once_gzipped_is_one_source_and_loaded_once(world: World) -> None:
    names = [Path(source["name"]).name for source in world.first.result["sources"]]
    assert sum(name.startswith("a.json") for name in names) == 1
    assert len(names) == len(FILES) - PATHS_OF_WHOLE + 1 + 1 + 1 + SAMPLE.exists()
    [whole] = [source for source in world.first.result["sources"] if Path(source["name"]).name.startswith("a.json")]
    assert (whole["lines"], whole["events"], whole["attempt"]) == (600, 600, 1)
