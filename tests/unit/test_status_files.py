"""Status files: what they say of a load, and how they get into their folder."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from producers.progress import Progress
from sinks.schema import dead_letter_events, session_sources, sink_counters
from sinks.standing import SourceStanding, StageStanding
from tallystick.cli.status.counting import Held, read_held
from tallystick.cli.status.documents import DeadLetters, folder_name
from tallystick.cli.status.observer import Observer, Seen, StatusFiles, make_observer
from tallystick.contracts.cowrie import KIND
from tallystick.contracts.stages import Verdict
from tallystick.errors import ConfigurationError
from tallystick.settings import DatabaseSettings, Settings, StatusSettings
from tests.sinks import ready

STAGES = ("read", "persisted", "aggregated", "verified")
OK, BAD = Verdict.SUCCEEDED, Verdict.MISMATCH


def told(path: str, state: str, *, sensor: str = "hp1", **more: Any) -> Progress:
    source = "" if state == "waiting" else f"source of {path}"
    counts = {"position": 0, "bytes_read": 0, "size": 1_000, "lines": 0, "events": 0, "dead": 0, **more}
    return Progress(path, source, 1, state=state, sensor=sensor, **counts)  # type: ignore[arg-type]


def standing(path: str, *verdicts: Verdict | None, attempt: int = 1) -> SourceStanding:
    named = dict(zip(STAGES, verdicts, strict=False))
    if "aggregated" in named:
        named["derived"] = named["aggregated"]
    stages = [StageStanding(name, 1, verdict, "why", 0, 0, "", "") for name, verdict in named.items()]
    return SourceStanding(f"source of {path}", KIND, path, attempt, 0, 0, 0, 0, stages)


class Load:
    """A load as the observer sees it, with a clock that is turned by hand and a database of its own."""

    def __init__(self, folder: Path, *sensors: str) -> None:
        self.folder, self.now = folder, 100.0
        self.settings = Settings(database=DatabaseSettings.model_validate({"url": f"sqlite:///{folder}.db"}))
        self.engine = ready(self.settings)
        folder.mkdir()
        self.files = StatusFiles(folder, sensors, seconds=10.0, clock=lambda: self.now)
        self.progress: dict[str, Progress] = {}
        self.standings: dict[str, SourceStanding] = {}

    def tell(self, *progress: Progress) -> None:
        self.progress.update({said.path: said for said in progress})

    def find(self, *standings: SourceStanding) -> None:
        self.standings.update({one.source: one for one in standings})

    @property
    def seen(self) -> Seen:
        return Seen(self.progress, self.standings, self.engine)

    def look(self, seconds: float = 10.0) -> dict[str, Any]:
        self.now += seconds
        self.files.observe(self.seen)
        return self.read("status.json")

    def read(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_bytes())  # type: ignore[no-any-return]

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Load]]:
    loads: list[Load] = []

    def make(*sensors: str) -> Load:
        loads.append(Load(tmp_path / f"status{len(loads)}", *sensors))
        return loads[-1]

    yield make
    for load in loads:
        load.engine.dispose()


Make = Callable[..., Load]


def test_a_load_goes_through_its_phases_and_each_has_a_file(make: Make) -> None:
    load = make("hp1")
    with load.files:
        assert (load.read("status.json")["phase"], load.read("status.json")["state"]) == ("reading", "running")
        load.tell(told("a", "waiting"), told("b", "waiting"))
        assert load.look()["files"] == {"total": 2, "processed": 0, "claimed": 0, "current": None}
        load.tell(told("a", "reading", bytes_read=500, position=700, events=50))
        now = load.look()
        assert (now["phase"], now["progress"]["percent"], now["files"]["current"]) == ("reading", 25.0, "a")
        assert now["progress"] == {
            "current": 500,
            "total": 2_000,
            "percent": 25.0,
            "rate_per_sec": 25.0,
            "eta_seconds": 60.0,
        }
        assert (now["checkpoint"], now["metrics"]["events_read"], now["log_entries"]) == ({"a": 700}, 50, 50)
        load.tell(told("a", "claimed", bytes_read=990, events=100, dead=3), told("b", "claimed", events=7))
        assert (load.look()["phase"], load.names()) == (
            "indexing",
            ["hp1/indexing.json", "hp1/reading.json", "indexing.json", "reading.json", "status.json"],
        )
        assert (load.read("reading.json")["state"], load.read("reading.json")["progress"]["percent"]) == ("done", 100.0)
        assert load.read("indexing.json")["state"] == "running"
        load.find(standing("a", OK, OK, None, None), standing("b", OK, OK, OK, None))
        assert load.look()["phase"] == "session analysis"
        load.find(standing("a", OK, OK, OK, None), standing("b", OK, OK, OK, OK))
        now = load.look()
        assert (now["phase"], now["state"], now["progress"]["percent"]) == ("writing", "running", 50.0)
        load.find(standing("a", OK, OK, OK, OK))
        load.files.end(load.seen, state="done", problems=[])
    now = load.read("status.json")
    assert (now["phase"], now["state"], now["progress"]["percent"], now["sensors"]["hp1"]["state"]) == (
        "writing",
        "done",
        100.0,
        "done",
    )
    assert set(now["phases"]) == {"reading", "indexing", "session analysis", "writing"}
    assert (now["log_entries"], now["metrics"]["events_invalid"]) == (110, 3)


def test_the_fields_are_those_that_dashboards_read(make: Make) -> None:
    load = make("hp1")
    load.tell(told("a", "reading", events=1))
    load.look()
    found = load.read("hp1/reading.json")
    assert {
        *("version", "timestamp", "hostname", "pid", "phase", "progress", "elapsed", "files", "details"),
        *("state", "heartbeat", "ingest_id", "last_updated", "metrics", "checkpoint", "dead_letter"),
        *("processed_files", "log_entries", "log_entries_indexed", "total_sessions", "sessions_processed"),
        "elapsed_secs",
    } <= set(found)
    assert set(found["progress"]) == {"current", "total", "percent", "rate_per_sec", "eta_seconds"}
    assert set(found["elapsed"]) == {"phase_seconds", "total_seconds"}
    assert set(found["dead_letter"]) == {"total", "last_reason", "last_source", "last_updated"}
    assert {
        *("files_processed", "events_read", "events_inserted", "events_quarantined", "events_invalid"),
        *("duplicates_skipped", "batches_committed", "duration_seconds", "events_per_second"),
    } == set(found["metrics"])


def test_a_file_that_can_not_be_read_is_never_a_phase_that_is_done(make: Make) -> None:
    load = make("hp1", "hp2")
    load.tell(told("a", "claimed"), told("b", "failed"), told("c", "claimed", sensor="hp2"))
    load.find(standing("a", OK, OK, OK, OK), standing("b", Verdict.FAILED), standing("c", OK, OK, OK, OK))
    load.look()
    load.files.end(load.seen, state="failed", problems=["the disk"])
    assert load.read("reading.json")["state"] == "failed"
    assert load.read("reading.json")["progress"]["percent"] < 100
    assert load.read("hp1/indexing.json")["state"] == "failed"
    assert load.read("hp2/writing.json")["state"] == "done"
    now = load.read("status.json")
    assert (now["state"], now["details"]["problems"]) == ("failed", ["the disk", "b: read: failed: why"])
    assert {name: one["state"] for name, one in now["sensors"].items()} == {"hp1": "failed", "hp2": "done"}


def test_verdicts_of_an_older_attempt_do_not_count(make: Make) -> None:
    load = make("hp1")
    load.tell(told("a", "claimed"))
    load.find(standing("a", OK, OK, OK, OK, attempt=0))
    assert (load.look()["phase"], load.look()["state"]) == ("indexing", "running")
    load.files.end(load.seen, state="failed", problems=[])
    assert load.read("status.json")["state"] == "failed"


def test_a_share_is_cut_and_not_rounded_up(make: Make) -> None:
    load = make("hp1")
    load.tell(told("a", "reading", bytes_read=999_999, size=1_000_000))
    assert load.look()["progress"]["percent"] == 99.99


def test_what_this_load_did_not_read_itself_is_no_rate_of_its_own(make: Make) -> None:
    load = make("hp1")
    load.tell(told("a", "reading", events=1_000, before=900))
    assert load.look()["metrics"]["events_per_second"] == 10.0
    load.tell(told("a", "claimed", events=1_000, before=1_000))
    assert load.look()["metrics"]["events_read"] == 1_000


def test_files_are_written_at_most_so_often_and_as_a_whole(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    load = make("hp1")
    load.tell(told("a", "waiting"))
    first = load.look()
    load.tell(told("b", "waiting"))
    assert load.look(9.9) == first
    assert load.look(0.2)["files"]["total"] == 2
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    load.tell(told("c", "waiting"))
    with capture_logs() as logs:
        assert load.look()["files"]["total"] == 2, "the old content is still there"
        load.look()
    assert [log["event"] for log in logs] == ["status files can't be written; the load goes on"]
    monkeypatch.undo()
    assert load.look()["files"]["total"] == 3


def test_the_phases_of_the_load_before_are_gone_once_another_begins(make: Make) -> None:
    load = make("hp1")
    load.tell(told("a", "claimed"))
    load.find(standing("a", OK, OK, OK, OK))
    load.look()
    load.files.end(load.seen, state="done", problems=[])
    assert "writing.json" in load.names()
    (load.folder / "somebody.json").write_text("{}")
    with StatusFiles(load.folder, ["hp1"], seconds=10.0):
        assert load.names() == ["hp1/reading.json", "reading.json", "somebody.json", "status.json"]
        assert load.read("status.json")["state"] == "running"


def test_an_error_that_ends_the_load_is_told_without_passwords(make: Make) -> None:
    load = make("hp1")
    load.tell(told("a", "claimed"))
    load.look()
    error = ValueError("no postgresql://me:hunter2@host/db")
    load.files.__exit__(ValueError, error, None)
    now = load.read("status.json")
    assert (now["state"], now["sensors"]["hp1"]["state"]) == ("failed", "failed")
    assert now["details"]["problems"] == ["no postgresql://me:***@host/db"]


def test_what_the_database_holds_is_counted_by_source(make: Make) -> None:
    load = make("hp1")
    counters = {"cluster_id": "c", "sink": "raw_events", "next_offset": 1, "low": 0, "seen": b""}
    letter = {"source_id": "source of a", "origin": "read", "topic": "t", "partition": 0, "piece": 0}
    letter |= {"payload": b"x", "metadata_json": {}, "digest": 1, "last": True}
    with load.engine.begin() as connection:
        for partition, source in enumerate(["source of a", "source of a", "source of b"]):
            row = {**counters, "source_id": source, "partition": partition, "inserted": 5, "present": 2, "dead": 1}
            connection.execute(sa.insert(sink_counters).values(row))
        for session in ("s1", "s2"):
            row = {"source_id": "source of a", "sensor": "x", "session_id": session}
            connection.execute(sa.insert(session_sources).values(row))
        for number, reason in enumerate(["first", "last"]):
            row = {**letter, "source_offset": number, "reason": reason}
            connection.execute(sa.insert(dead_letter_events).values(row))
        begun = {
            **letter,
            "source_offset": 9,
            "reason": "a letter of which only the first piece is there",
            "last": False,
        }
        connection.execute(sa.insert(dead_letter_events).values(begun))
    with load.engine.connect() as connection:
        found = read_held(connection, ["source of a", "source of c"])
    assert found["source of c"] == Held()
    held = found["source of a"]
    assert (held.inserted, held.present, held.dead, held.sessions) == (10, 4, 2, 2)
    assert (held.letters.total, held.letters.last_reason) == (2, "last")
    load.tell(told("a", "claimed", events=16, dead=2))
    now = load.look()
    assert (now["log_entries_indexed"], now["total_sessions"], now["metrics"]["duplicates_skipped"]) == (16, 2, 4)
    assert (now["dead_letter"]["total"], now["dead_letter"]["last_source"]) == (2, "a")


@pytest.mark.parametrize(
    "name",
    ["..", ".hidden", "a/b", "status.json", "x" * 255, "ø" * 255, "<script>", "reading.json", "~", "%2E", "a:b\\c"],
)
def test_any_sensor_has_a_folder_of_its_own_below_the_status_folder(name: str, tmp_path: Path) -> None:
    folder = folder_name(name)
    assert "/" not in folder
    assert not folder.startswith(".")
    assert not folder.endswith(".json")
    (tmp_path / folder).mkdir()
    assert folder_name(name + "x") != folder


def test_without_a_folder_nothing_is_written_and_one_that_can_not_be_had_is_an_error(tmp_path: Path) -> None:
    assert type(make_observer(Settings(), ["hp1"])) is Observer
    (tmp_path / "file").touch()
    settings = Settings(status=StatusSettings(dir=tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match=r"status files can't be written to .*file/below"):
        make_observer(settings, ["hp1"])


def test_letters_of_a_source_are_none_where_there_is_none() -> None:
    assert DeadLetters() == Held().letters
