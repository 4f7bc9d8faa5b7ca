"""Configured sensors on the real stack: each with its files, its zone and its format, loaded and followed."""

import gzip
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tallystick.settings import Settings
from tests.loads import SUCCEEDED, Loaded, ask, load, verdicts
from tests.plugins.services import apart
from tests.support import TALLY, environment, eventually, json_of, tally, tally_here
from tests.warm import Command

TODAY = datetime.now(UTC).date()
PER_FILE = 40


def event(number: int, day: str, *, session: str, **more: object) -> dict[str, object]:
    at = f"{day}T20:{number // 60:02}:{number % 60:02}.000000"
    return {"eventid": "cowrie.login.failed", "session": session, "timestamp": at, "username": "root", **more}


def a_day(back: int) -> bytes:
    """A day of the sensor in Berlin: its events name neither sensor nor zone."""
    events = [event(number, "2026-07-01", session=f"{back}-{number % 5}", n=back) for number in range(PER_FILE)]
    return b"".join(json.dumps(found).encode() + b"\n" for found in events)


class World(NamedTuple):
    """Two sensors: one with archives of nine days and another zone, one with pretty-printed objects."""

    settings: Settings
    status: Path
    recent: Loaded
    status_after: dict[str, Any]
    everything: Loaded

    def counts(self) -> dict[str, int]:
        return dict(ask(self.settings, "SELECT sensor, count(*) FROM raw_events GROUP BY sensor"))


@pytest.fixture(scope="module")
def world(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, home = tmp_path_factory.mktemp("logs"), tmp_path_factory.mktemp("home")
    berlin, denver = folder / "berlin", folder / "denver"
    berlin.mkdir()
    denver.mkdir()
    (berlin / "cowrie.json").write_bytes(a_day(0))
    # Two days away from the bound, so that a midnight during the test changes nothing.
    for back in (1, 2, 3, 6, 7, 8):
        name = f"cowrie.json.{TODAY - timedelta(days=back)}"
        if back > 1:
            (berlin / f"{name}.gz").write_bytes(gzip.compress(a_day(back)))
        else:
            (berlin / name).write_bytes(a_day(back))
    pretty = [event(number, "2026-07-01", session="p", sensor="its own name", n=number) for number in range(30)]
    (denver / "cowrie.json").write_text("\n".join(json.dumps(found, indent=2) for found in pretty))
    config, status = folder / "tallystick.toml", folder / "status"
    config.write_text(
        f'[[sensor]]\nname = "berlin"\npaths = ["{berlin}"]\ntime_zone = "Europe/Berlin"\n'
        f'[[sensor]]\nname = "denver"\npaths = ["{denver}"]\ntime_zone = "America/Denver"\nformat = "pretty"\n'
    )
    with apart(servers, home=home) as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_CONFIG", str(config))
        options = ("--status-dir", str(status), "--status-poll-seconds", "0.2")
        recent = load(settings, "--sensor", "all", "--days", "4", *options)
        after = {str(path.relative_to(status)): json.loads(path.read_bytes()) for path in status.rglob("*.json")}
        everything = load(settings, "--sensor", "berlin", *options)
        yield World(settings, status, recent, after, everything)


def test_files_of_so_many_days_are_loaded_and_the_others_are_told_of(world: World) -> None:
    assert world.recent.code == 0
    names = [Path(source["name"]).name for source in world.recent.result["sources"]]
    days = [f"cowrie.json.{TODAY - timedelta(days=back)}" for back in (1, 2, 3)]
    assert sorted(names) == sorted(["cowrie.json", "cowrie.json", days[0], *(f"{day}.gz" for day in days[1:])])
    assert all(verdicts(source) == SUCCEEDED for source in world.recent.result["sources"])
    assert "berlin: left out 3 files older than 4 days" in world.recent.said


def test_the_rest_is_loaded_later_and_nothing_counts_twice(world: World) -> None:
    assert world.everything.code == 0
    assert len(world.everything.result["sources"]) == 7
    assert world.counts() == {"berlin": 7 * PER_FILE, "its own name": 30}
    assert ask(world.settings, "SELECT count(*), sum(event_count) FROM session_summaries") == [(36, 7 * PER_FILE + 30)]


def test_times_without_a_zone_are_read_on_the_clock_of_their_sensor(world: World) -> None:
    for table, column in (("raw_events", "event_timestamp"), ("session_summaries", "first_event_at")):
        rows = ask(world.settings, f"SELECT sensor, min({column}) FROM {table} GROUP BY sensor ORDER BY sensor")
        assert rows == [
            ("berlin", datetime(2026, 7, 1, 18, tzinfo=UTC)),
            ("its own name", datetime(2026, 7, 2, 2, tzinfo=UTC)),
        ], table


def test_status_files_tell_of_each_sensor_and_of_all(world: World) -> None:
    phases = {"reading", "indexing", "session_analysis", "writing"}
    assert set(world.status_after) == {
        "status.json",
        *(f"{folder}{phase}.json" for folder in ("", "berlin/", "denver/") for phase in phases),
    }
    assert all(document["state"] == "done" for document in world.status_after.values())
    assert all(document["progress"]["percent"] == 100.0 for document in world.status_after.values())
    berlin = world.status_after["berlin/writing.json"]
    assert (berlin["log_entries"], berlin["log_entries_indexed"]) == (4 * PER_FILE, 4 * PER_FILE)
    assert (berlin["total_sessions"], berlin["sessions_processed"], berlin["processed_files"]) == (20, 20, 4)
    assert berlin["metrics"]["events_inserted"] == 4 * PER_FILE
    whole = world.status_after["status.json"]
    assert (whole["log_entries"], whole["files"]["total"], set(whole["sensors"])) == (
        4 * PER_FILE + 30,
        5,
        {"berlin", "denver"},
    )


def test_the_next_load_has_status_files_of_its_own(world: World) -> None:
    now = json.loads((world.status / "status.json").read_bytes())
    assert now["ingest_id"] != world.status_after["status.json"]["ingest_id"]
    assert (now["state"], now["files"]["claimed"], now["log_entries"]) == ("done", 7, 7 * PER_FILE)
    assert list(now["sensors"]) == ["berlin"]


def test_the_list_of_sensors_tells_what_the_database_has_heard_of_them(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLY_CONFIG", str(world.status.with_name("tallystick.toml")))
        berlin, denver = json_of(tally_here(world.settings, "sensors", "list", "--json"))
    assert (berlin["name"], berlin["files"], berlin["newest_event"]) == ("berlin", 7, "2026-07-01T18:00:39.000000Z")
    assert denver["newest_event"] == "2026-07-02T02:00:29.000000Z"
    assert denver["last_heard"] > "2026"


def test_a_load_with_a_file_that_is_damaged_is_never_shown_as_done(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "good.json").write_bytes(a_day(0))
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(a_day(1))[:-20])
    status = tmp_path / "status"
    done = load(settings, "--status-dir", str(status), str(tmp_path / "good.json"), str(tmp_path / "cut.json.gz"))
    assert done.code == 1
    documents = [json.loads(path.read_bytes()) for path in status.rglob("*.json")]
    assert {one["state"] for one in documents if one["phase"] == "reading"} == {"failed"}
    whole = json.loads((status / "status.json").read_bytes())
    assert (whole["state"], whole["files"]) == ("failed", {"total": 2, "processed": 2, "claimed": 1, "current": None})
    assert any("the gzip stream ends early" in problem for problem in whole["details"]["problems"])


def test_several_sensors_are_followed_each_with_its_zone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "tallystick.toml"
    config.write_text(
        f'[[sensor]]\nname = "one"\npaths = ["{tmp_path}/one/cowrie.json"]\ntime_zone = "Asia/Tokyo"\n'
        f'[[sensor]]\nname = "two"\npaths = ["{tmp_path}/two"]\n'
    )
    monkeypatch.setenv("TALLY_CONFIG", str(config))
    logs = [tmp_path / name / "cowrie.json" for name in ("one", "two")]
    for log in logs:
        log.parent.mkdir()
        log.write_text(json.dumps(event(0, "2026-07-01", session="s", log=str(log))) + "\n")

    def rows() -> list[tuple[Any, ...]]:
        return ask(settings, "SELECT sensor, count(*), max(event_timestamp) FROM raw_events GROUP BY 1 ORDER BY 1")

    with (
        (tmp_path / "service.log").open("wb") as said,
        Command([*TALLY, "run", "all", "--sensor", "all"], env=environment(settings), output=said) as service,
    ):
        try:
            eventually(lambda: ask(settings, "SELECT to_regclass('raw_events') IS NOT NULL")[0][0])
            eventually(rows, until=lambda found: len(found) == 2)
            for log in logs:
                with log.open("a") as file:
                    file.write(json.dumps(event(1, "2026-07-01", session="s", log=str(log))) + "\n")
            found = eventually(rows, until=lambda found: [count for _, count, _ in found] == [2, 2])
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(60)
    assert [(name, at) for name, _, at in found] == [
        ("one", datetime(2026, 7, 1, 11, 0, 1, tzinfo=UTC)),
        ("two", datetime(2026, 7, 1, 20, 0, 1, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(("load", "--sensor", "three"), "no such sensor: 'three'; configured are 'one'", id="load"),
        pytest.param(("run", "reader", "--sensor", "three"), "no such sensor: 'three'", id="a reader"),
        pytest.param(("run", "all", "--sensor", "all"), "sensor 'one' has the format pretty", id="a service"),
        pytest.param(("run", "all"), "nothing to read was named", id="a service of nothing"),
    ],
)
def test_what_no_sensor_can_give_is_exit_code_2(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], word: str
) -> None:
    (tmp_path / "tallystick.toml").write_text('[[sensor]]\nname = "one"\npaths = ["/logs"]\nformat = "pretty"\n')
    monkeypatch.setenv("TALLY_CONFIG", str(tmp_path / "tallystick.toml"))
    done = tally(settings, *arguments)
    assert (done.returncode, word in done.stderr) == (2, True), done.stderr
