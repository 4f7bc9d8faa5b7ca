"""What a command line asks to be read: which arguments go together, and what is told of what is left out."""

from pathlib import Path

import pytest

from producers.cowrie.formats import Format
from producers.cowrie.selection import Job
from tallystick.cli.choosing import Asked, followed_of, jobs_of, left_out
from tallystick.errors import UsageError
from tallystick.settings import SensorSettings, Settings

PATHS = ("cowrie.json",)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(Asked(PATHS), id="files"),
        pytest.param(Asked(PATHS, sensor="hp1", form=Format.PRETTY), id="files with sensor and format"),
        pytest.param(Asked((), sensor="all"), id="all sensors"),
        pytest.param(Asked((), sensor="a,b", days=0), id="some sensors, and days"),
    ],
)
def test_what_goes_together(asked: Asked) -> None:
    asked.check()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        pytest.param(Asked(()), "nothing to read was named", id="nothing"),
        pytest.param(Asked((), days=3), "nothing to read was named", id="days of nothing"),
        pytest.param(Asked(PATHS, days=3), "--days goes with --sensor", id="days of files that are named"),
        pytest.param(Asked((), sensor="all", form=Format.LINES), "stands in its table", id="a format of sensors"),
        pytest.param(Asked(PATHS, sensor="a\tb"), "can't be a sensor's name", id="a name that no sensor may have"),
        pytest.param(Asked(PATHS, sensor=""), "can't be a sensor's name", id="an empty name"),
    ],
)
def test_what_does_not(asked: Asked, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        asked.check()
    with pytest.raises(UsageError):
        asked.check_followed()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        pytest.param(Asked(PATHS, form=Format.PRETTY), "leave --format pretty or --follow out", id="a format"),
        pytest.param(Asked((), sensor="all", days=3), "leave --days or --follow out", id="days"),
    ],
)
def test_what_can_not_be_followed(asked: Asked, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        asked.check_followed()


def test_a_reader_process_is_asked_for_the_same() -> None:
    assert Asked((), sensor="all", days=0).options == ("--days", "0")
    assert Asked(PATHS, form=Format.AUTO).options == ("--format", "auto")
    assert Asked(PATHS).options == ()


def configured(folder: Path) -> Settings:
    paths = (str(folder),)
    return Settings(sensor=(SensorSettings(name="one", paths=paths), SensorSettings(name="two", paths=paths)))


def test_where_every_file_is_left_out_that_is_an_error_which_says_so(tmp_path: Path) -> None:
    (tmp_path / "cowrie.json.2001-01-01").touch()
    (tmp_path / "cowrie.json.2001-01-02").touch()
    settings = configured(tmp_path)
    with pytest.raises(UsageError) as caught:
        jobs_of(settings, Asked((), sensor="all", days=7))
    assert "nothing is left to read: one: left out 2 files older than 7 days; none of its files is left" in str(
        caught.value
    )
    first, second = jobs_of(settings, Asked((), sensor="all"))
    assert (len(first.files), second.files) == (2, ())
    assert left_out([first, second], None) == [
        "two: left out 2 files that a sensor before it has as well; none of its files is left"
    ]


def test_what_is_left_out_is_told_for_each_sensor() -> None:
    jobs = [Job((), "a", too_old=1), Job((), "b"), Job((), "c", taken=1_234)]
    assert left_out(jobs, 3) == [
        "a: left out 1 file older than 3 days; none of its files is left",
        "c: left out 1,234 files that a sensor before it has as well; none of its files is left",
    ]


def test_sensors_and_named_files_are_followed() -> None:
    settings = configured(Path("/logs"))
    assert [one.sensor for one in followed_of(settings, Asked((), sensor="two,one"))] == ["two", "one"]
    [named] = followed_of(settings, Asked(PATHS, sensor="x"))
    assert (named.paths, named.sensor) == (PATHS, "x")
