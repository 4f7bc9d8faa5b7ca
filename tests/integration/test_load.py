"""The main job, by the real command: files in, and every source has its verdict, in any database and however often."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from tallystick.contracts.cowrie import EVENTS
from tallystick.kafka.consuming import read_whole
from tallystick.settings import DatabaseSettings, Settings
from tests import sample
from tests.dumps import dump
from tests.loads import STAGES, SUCCEEDED, Loaded, ask, letters, load, old, shares, stored, verdicts
from tests.plugins.services import apart
from tests.sinks import ready
from tests.support import json_of, tally, tally_here

GROWING = "growing"


def event(number: int, *, session: str = "", sensor: str = "pot", **more: object) -> bytes:
    at = f"2026-11-23T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    named = {"eventid": "cowrie.x", "timestamp": at, "session": session or f"s{number % 7}", "sensor": sensor}
    return json.dumps({**named, "n": number, **more}).encode() + b"\n"


WHOLE = [event(number) for number in range(600)]
OTHER = [event(number, sensor="other pot") for number in range(50)]
FILES = {
    "a.json": WHOLE,
    "a.json.copy": WHOLE,
    "b.prefix.json": WHOLE[:200],
    "c.middle.json": WHOLE[150:450],
    "d.concatenation.json": OTHER + WHOLE[300:],
    "e.other.sensor.json": OTHER[10:],
}
SOURCES = {name: lines for name, lines in FILES.items() if name != "a.json.copy"}


class World(NamedTuple):
    """Files that overlap, one that grows, and the genuine sample: loaded, loaded again, and into a second database."""

    settings: Settings
    second_settings: Settings
    folder: Path
    written: list[bytes]
    first: Loaded
    again: CompletedProcess[str]
    second: Loaded
    dumps: list[dict[str, list[str]]]
    """Of the first database, after each of the three loads."""
    records: list[int]
    """How many there are in Kafka before and after the load into the second database."""

    def source(self, name: str) -> dict[str, Any]:
        return self.first.source(self.folder / name)


@pytest.fixture(scope="module")
def world(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("logs")
    for name, lines in FILES.items():
        old(folder / name, b"".join(lines))
    old(folder / "a.json.gz", gzip.compress(b"".join(WHOLE)))
    paths = [str(folder), *([str(sample.GENUINE)] if sample.GENUINE.exists() else [])]
    url = f"sqlite:///{home / 'second.db'}"
    with apart(servers, home=home) as settings:
        with growing(folder / f"{GROWING}.json") as written:
            first = load(settings, *paths)
        dumps = [dump(settings)]
        again = tally(settings, "load", *paths)
        dumps.append(dump(settings))
        records = [records_of_events(settings)]
        second = load(settings, *paths, "--database", url)
        dumps.append(dump(settings))
        records.append(records_of_events(settings))
        other = settings.model_copy(update={"database": DatabaseSettings.model_validate({"url": url})})
        yield World(settings, other, folder, written, first, again, second, dumps, records)


@contextmanager
def growing(path: Path) -> Iterator[list[bytes]]:
    """Give the lines of a file that is written to all the while, half a line at a time."""
    written: list[bytes] = []
    done = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            while not done.is_set():
                line = event(len(written), session=GROWING, sensor=GROWING)
                file.write(line[:40])
                done.wait(0.002)
                file.write(line[40:])
                written.append(line)
                done.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        done.set()
        writer.join()


def records_of_events(settings: Settings) -> int:
    return sum(1 for _ in read_whole(settings, settings.kafka.topic(EVENTS), client_id="test"))


class TestTheFirstLoad:
    def test_every_source_succeeds_in_all_four_stages(self, world: World) -> None:
        assert world.first.code == 0, world.first.said
        assert world.first.result["succeeded"] is True
        assert world.first.result["problems"] == []
        found = {Path(source["name"]).name: verdicts(source) for source in world.first.result["sources"]}
        names = [*SOURCES, f"{GROWING}.json", *([sample.GENUINE.name] if sample.GENUINE.exists() else [])]
        assert found == dict.fromkeys(names, SUCCEEDED)

    def test_a_file_under_two_names_and_once_gzipped_is_loaded_once(self, world: World) -> None:
        whole = world.source("a.json")
        assert (whole["lines"], whole["events"], whole["attempt"]) == (600, 600, 1)

    @pytest.mark.parametrize("name", SOURCES)
    def test_of_files_that_overlap_each_has_its_own_counts(self, world: World, name: str) -> None:
        source = world.source(name)
        persisted = source["stages"][STAGES.index("persisted")]
        assert source["events"] == persisted["claimed"] == persisted["observed"] == len(SOURCES[name])

    def test_of_files_that_overlap_every_event_is_stored_once(self, world: World) -> None:
        rows = ask(world.settings, "SELECT payload FROM raw_events WHERE sensor LIKE '%pot' ORDER BY sensor, source_id")
        assert sorted(payload["n"] for (payload,) in rows if payload["sensor"] == "pot") == list(range(600))
        assert sorted(payload["n"] for (payload,) in rows if payload["sensor"] == "other pot") == list(range(50))

    def test_sessions_of_two_sensors_are_kept_apart_under_the_same_id(self, world: World) -> None:
        found = ask(
            world.settings, "SELECT sensor, session_id, event_count FROM session_summaries WHERE sensor LIKE '%pot'"
        )
        assert sorted(found) == sorted(
            (sensor, f"s{left}", len(range(left, number, 7)))
            for sensor, number in (("pot", 600), ("other pot", 50))
            for left in range(7)
        )

    def test_of_a_file_that_grows_what_is_there_is_claimed_and_succeeds(self, world: World) -> None:
        source = world.source(f"{GROWING}.json")
        assert 0 < source["events"] < len(world.written)
        assert (source["lines"], source["dead_letters"]) == (source["events"], 0)

    def test_the_genuine_sample_has_all_its_events_and_sessions(self, world: World) -> None:
        if not sample.GENUINE.exists():
            pytest.skip("optional: the genuine sample is not here")
        source = world.first.source(sample.GENUINE)
        assert (source["lines"], source["events"], source["dead_letters"]) == (3_552, 3_552, 0)
        assert verdicts(source) == SUCCEEDED
        assert len(stored(world.settings, source["source"])) == 3_552
        sessions = ask(
            world.settings,
            "SELECT count(*), sum(event_count) FROM session_summaries JOIN session_sources"
            f" USING (sensor, session_id) WHERE source_id = '{source['source']}'",
        )
        assert sessions == [(324, 3_552)]


class TestTheSameAgain:
    def test_it_succeeds_and_says_so(self, world: World) -> None:
        assert world.again.returncode == 0, world.again.stdout + world.again.stderr
        assert re.search(rf"^{len(world.first.result['sources'])} sources succeeded", world.again.stdout, re.MULTILINE)

    def test_no_row_changes(self, world: World) -> None:
        source = world.source(f"{GROWING}.json")["source"]
        first, again = (
            {table: [row for row in rows if GROWING not in row and source not in row] for table, rows in held.items()}
            for held in world.dumps[:2]
        )
        assert first == again
        assert len(first["raw_events"]) >= len(WHOLE) + len(OTHER)

    def test_of_a_file_that_has_grown_every_event_is_stored_once(self, world: World) -> None:
        source = world.source(f"{GROWING}.json")["source"]
        rows = stored(world.settings, source)
        assert [rows[position].payload["n"] for position in sorted(rows)] == list(range(len(world.written)))
        assert letters(world.settings, source) == []


class TestASecondDatabase:
    def test_it_has_verdicts_of_its_own(self, world: World) -> None:
        assert world.second.code == 0, world.second.said
        assert [verdicts(source) for source in world.second.result["sources"]] == [SUCCEEDED] * len(
            world.first.result["sources"]
        )

    def test_nothing_is_read_into_kafka_again(self, world: World) -> None:
        before, after = world.records
        assert before == after > 0

    def test_it_holds_the_same_events(self, world: World) -> None:
        query = "SELECT sensor, session_id, digest, source_id, source_offset FROM raw_events"
        assert sorted(ask(world.second_settings, query)) == sorted(ask(world.settings, query))
        query = "SELECT sensor, session_id, revision, event_count FROM session_summaries"
        assert sorted(ask(world.second_settings, query)) == sorted(ask(world.settings, query))

    def test_the_first_one_stays_as_it_was(self, world: World) -> None:
        assert world.dumps[1] == world.dumps[2]


class TestWhatIsShown:
    def test_progress_never_passes_100_percent_and_ends_there(self, world: World) -> None:
        for said in (world.first.said, world.again.stdout, world.second.said):
            found = shares(said)
            assert all(share <= 100 and done <= total for _, share, done, total in found)
            last = {name: (share, done == total) for name, share, done, total in found}
            assert last.keys() == SUCCEEDED.keys()
        assert set(last.values()) == {(100, True)}

    @pytest.mark.parametrize("place", ["settings", "second_settings"])
    def test_sources_shows_every_source_with_its_stages_counts_and_times(self, world: World, place: str) -> None:
        found = {source["name"]: source for source in json_of(tally_here(getattr(world, place), "sources", "--json"))}
        assert len(found) == len(world.first.result["sources"])
        for name, lines in SOURCES.items():
            source = found[str(world.folder / name)]
            assert source["succeeded"] is True
            assert (source["lines"], source["dead_letters"]) == (len(lines), 0)
            assert source["bytes"] == sum(map(len, lines))
            assert all(stage["started_at"] <= stage["ended_at"] for stage in source["stages"])

    def test_the_table_has_a_line_for_each(self, world: World) -> None:
        output = tally_here(world.settings, "sources").stdout
        for source in world.first.result["sources"]:
            assert re.search(rf"{re.escape(Path(source['name']).name)} .* succeeded *$", output, re.MULTILINE)


DROP_ROWS = {
    "postgresql": (
        "CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER drop_rows BEFORE INSERT ON raw_events FOR EACH ROW"
        " WHEN (NEW.session_id = 'hurt' AND NEW.source_offset > 1000) EXECUTE FUNCTION drop_row()",
    ),
    "sqlite": (
        "CREATE TRIGGER drop_rows BEFORE INSERT ON raw_events"
        " WHEN NEW.session_id = 'hurt' AND NEW.source_offset > 1000 BEGIN SELECT RAISE(IGNORE); END",
    ),
}


def drop_rows_silently(settings: Settings) -> None:
    """Make the database drop rows of the session `hurt` without a word."""
    engine = ready(settings)
    with engine.begin() as connection:
        for statement in DROP_ROWS[engine.dialect.name]:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_rows_that_a_database_drops_silently_are_a_mismatch_and_a_failure_shows_though_another_file_made_up_for_it(
    place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_VERIFIER__SETTLE_SECONDS", "0.5")
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = [event(number, session="hurt") for number in range(100)]
    hurt = old(folder / "hurt.json", b"".join(lines))
    fine = old(folder / "fine.json", b"".join(event(number, session="fine") for number in range(100)))
    content = b"".join(event(number, session="cut", noise=str(number) * 50) for number in range(500))
    cut = old(folder / "cut.json", gzip.compress(content)[:-4])
    whole = old(folder / "cut.whole.json", content)
    drop_rows_silently(place)

    done = load(place, str(folder))

    assert done.code == 1
    assert done.result["succeeded"] is False
    assert verdicts(done.source(fine)) == SUCCEEDED
    source = done.source(hurt)
    assert verdicts(source) == {**SUCCEEDED, "persisted": "mismatch", "verified": "mismatch"}
    left = sum(sum(map(len, lines[:number])) <= 1_000 for number in range(100))
    assert 0 < left < 100
    assert len(stored(place, source["source"])) == left
    assert f"persisted: mismatch: raw_events committed {left} events, claimed were 100" in source["trouble"]
    assert f"session 'hurt' of 'pot': 100 events counted, {left} rows" in source["trouble"]
    assert verdicts(done.source(whole)) == SUCCEEDED
    [problem] = done.result["problems"]
    assert problem.startswith(f"{cut}: the gzip stream ends early")
    output = tally_here(place, "sources").stdout
    assert re.search(r"hurt\.json .* ok .* MISMATCH .* ok .* MISMATCH .* mismatch", output)
    assert f"{hurt}: persisted: mismatch: raw_events committed {left} events" in output


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param((), "Usage", id="nothing"),
        pytest.param(("load",), "nothing to read was named", id="a load of nothing"),
        pytest.param(("load", "--no-such-option", "."), "No such option", id="an unknown option"),
        pytest.param(("load", "--sensor", "a\nb", "."), r"'a\nb' can't be a sensor's name", id="an impossible sensor"),
    ],
)
def test_wrong_usage_is_exit_code_2(servers: Settings, arguments: tuple[str, ...], word: str) -> None:
    done = tally_here(servers, *arguments)
    assert done.returncode == 2
    assert word in done.stdout + done.stderr


def test_a_database_that_cant_be_used_is_exit_code_1_and_one_line(settings: Settings, tmp_path: Path) -> None:
    done = tally(settings, "load", "--database", f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "the database can't be used: unable to open database file" in done.stderr
