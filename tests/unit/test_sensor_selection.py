"""Which files of which sensors are read."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from producers.cowrie.discovery import LogFile, Problem
from producers.cowrie.formats import Format
from producers.cowrie.selection import Followed, choose, follow, follow_paths, is_recent, job_of_paths, select
from tallystick.contracts.timestamps import zone_named
from tallystick.errors import UsageError
from tallystick.settings import SensorSettings

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = 86_400.0


def sensor(name: str, *paths: Path | str, **more: str) -> SensorSettings:
    return SensorSettings.model_validate({"name": name, "paths": [str(path) for path in paths], **more})


HP1, HP2, HP3 = sensor("hp1", "/a"), sensor("hp 2", "/b"), sensor("hp3", "/c")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param("all", [HP1, HP2, HP3], id="every one"),
        pytest.param("hp3", [HP3], id="one by its name"),
        pytest.param("hp3,hp1", [HP3, HP1], id="several, in the order asked for"),
        pytest.param(" hp 2 , hp1", [HP2, HP1], id="blanks around names, not within"),
        pytest.param("hp1,hp1", [HP1], id="the same twice is once"),
    ],
)
def test_sensors_are_chosen_by_name(asked: str, expected: list[SensorSettings]) -> None:
    assert choose([HP1, HP2, HP3], asked) == expected


@pytest.mark.parametrize("asked", ["hp4", "hp1,hp4", "", "hp1,", "ALL", "hp\x1b[1"])
def test_a_name_that_is_not_configured_is_refused_with_those_that_are(asked: str) -> None:
    with pytest.raises(UsageError, match="configured are 'hp1', 'hp 2'") as caught:
        choose([HP1, HP2], asked)
    assert str(caught.value).isprintable()


def test_where_none_is_configured_that_is_said() -> None:
    with pytest.raises(UsageError, match=r"no sensor is configured: add \[\[sensor\]\] tables"):
        choose([], "all")


@pytest.mark.parametrize(
    ("name", "age", "days", "expected"),
    [
        pytest.param("cowrie.json.2026-11-25", 99, 0, True, id="0 days is today"),
        pytest.param("cowrie.json.2026-11-24", 0, 0, False, id="yesterday is not today, whenever it was written"),
        pytest.param("cowrie.json.2026-11-18", 0, 7, True, id="the last day that counts"),
        pytest.param("cowrie.json.2026-11-17", 0, 7, False, id="the first that does not"),
        pytest.param("cowrie.json.2026-11-17.gz", 0, 7, False, id="compressed"),
        pytest.param("cowrie.json-20261117.bz2", 0, 7, False, id="logrotate's date"),
        pytest.param("cowrie.2026-11-17.json", 0, 7, False, id="a date before the ending"),
        pytest.param("cowrie_2026_11_17.json", 0, 7, False, id="another separator"),
        pytest.param("2020-01-01.cowrie.json.2026-11-25", 99, 7, True, id="the last of several dates"),
        pytest.param("cowrie.json.2026-12-24", 99, 0, True, id="a day to come"),
        pytest.param("cowrie.json", 0, 0, True, id="no date: changed today"),
        pytest.param("cowrie.json", 8, 7, False, id="no date: changed too long ago"),
        pytest.param("cowrie.json.1", 7, 7, True, id="a numbered rotation, by its time"),
        pytest.param("cowrie.json.2026-13-45", 8, 7, False, id="what is no date does not count as one"),
        pytest.param("hp-10101010.json", 1, 7, True, id="nor does a number of another century"),
        pytest.param("cowrie.json.20261117120000", 0, 7, True, id="nor a part of a longer number"),
        pytest.param("cowrie.json.2026-1117", 0, 7, True, id="nor one that is half separated"),
    ],
)
def test_a_file_is_as_old_as_the_day_in_its_name_else_as_its_last_change(
    name: str, age: int, days: int, expected: bool
) -> None:
    assert is_recent(name, NOON.timestamp() - age * DAY, days=days, now=NOON) is expected


def test_days_are_those_of_the_sensors_own_clock() -> None:
    evening = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)
    berlin, denver = (evening.astimezone(zone_named(name)) for name in ("Europe/Berlin", "America/Denver"))
    assert not is_recent("cowrie.json.2026-11-25", 0.0, days=0, now=berlin)
    assert is_recent("cowrie.json.2026-11-25", 0.0, days=0, now=denver)
    assert is_recent("cowrie.json", evening.timestamp() - 3_600, days=0, now=denver)
    assert not is_recent("cowrie.json", evening.timestamp() - 3_600, days=0, now=berlin)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for name in ("a/cowrie.json", "a/cowrie.json.2026-11-24", "a/cowrie.json.2026-09-01.gz", "b/cowrie.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    return tmp_path


def test_each_sensor_is_a_job_with_its_files_its_zone_and_its_format(logs: Path) -> None:
    sensors = [
        sensor("one", logs / "a", time_zone="Europe/Berlin", format="lines"),
        sensor("two", logs / "b" / "cowrie.json", logs / "nothing", format="pretty"),
    ]
    one, two = select(sensors, days=30, now=NOON)
    assert [Path(file.path).name for file in one.files] == ["cowrie.json", "cowrie.json.2026-11-24"]
    assert (one.sensor, one.form, one.zone, one.too_old, one.taken) == ("one", Format.LINES, "Europe/Berlin", 1, 0)
    assert two.files == (
        LogFile(str(logs / "b" / "cowrie.json")),
        Problem(str(logs / "nothing"), "no such file; check the path"),
    )
    assert (two.sensor, two.form, two.zone, two.too_old, two.taken) == ("two", Format.PRETTY, "", 0, 0)


def test_without_days_every_file_is_read(logs: Path) -> None:
    [job] = select([sensor("one", logs)], days=None, now=NOON)
    assert (len(job.files), job.too_old) == (4, 0)


def test_a_file_of_two_sensors_is_the_first_ones_however_it_is_called(logs: Path) -> None:
    (logs / "link").symlink_to(logs / "a")
    one, two = select([sensor("one", logs / "a"), sensor("two", logs / "b", logs / "link")], days=None, now=NOON)
    assert (len(one.files), one.taken) == (3, 0)
    assert ([Path(file.path).parent.name for file in two.files], two.taken) == (["b"], 3)


@pytest.mark.parametrize(
    ("name", "form", "expected"),
    [
        pytest.param(None, None, ("unknown", Format.AUTO, ""), id="nobody's"),
        pytest.param("other", Format.ARRAY, ("other", Format.ARRAY, ""), id="of one that is not configured"),
        pytest.param("hp1", None, ("hp1", Format.PRETTY, "Europe/Berlin"), id="of one that is configured"),
        pytest.param("hp1", Format.AUTO, ("hp1", Format.AUTO, "Europe/Berlin"), id="a given format is stronger"),
    ],
)
def test_files_that_are_named_are_read_as_their_sensor_is_configured(
    logs: Path, name: str | None, form: Format | None, expected: tuple[str, Format, str]
) -> None:
    configured = [sensor("hp1", "/a", time_zone="Europe/Berlin", format="pretty")]
    job = job_of_paths(configured, [str(logs / "b")], sensor=name, form=form)
    assert (job.sensor, job.form, job.zone) == expected
    assert len(job.files) == 1


def test_sensors_are_followed_by_their_paths_and_named_files_with_the_zone_of_theirs() -> None:
    sensors = [sensor("one", "/a", "/b", time_zone="Asia/Tokyo"), sensor("two", "/c", format="lines")]
    assert follow(sensors) == [Followed(("/a", "/b"), "one", "Asia/Tokyo"), Followed(("/c",), "two")]
    assert follow_paths(sensors, ["/x"], sensor="one") == Followed(("/x",), "one", "Asia/Tokyo")
    assert follow_paths(sensors, ["/x"], sensor=None) == Followed(("/x",), "unknown")


@pytest.mark.parametrize("form", ["pretty", "array"])
def test_a_sensor_whose_events_span_lines_is_not_followed(form: str) -> None:
    sensors = [sensor("one", "/a"), sensor("two", "/b", format=form)]
    with pytest.raises(UsageError, match=f"sensor 'two' has the format {form}: leave it out"):
        follow(sensors)
    with pytest.raises(UsageError, match="sensor 'two'"):
        follow_paths(sensors, ["/x"], sensor="two")
