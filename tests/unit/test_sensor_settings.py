"""`[[sensor]]` tables: what is taken, and that everything that is wrong is told at once, by the sensor's name."""

from pathlib import Path

import pytest

from tallystick.errors import ConfigurationError
from tallystick.settings import SensorSettings, load_settings

WRONG = """
[kafka]
partitions = 0
[[sensor]]
name = "a,b"
paths = []
time_zone = "Mars/Base"
[[sensor]]
name = "hp1"
paths = ["/x"]
format = "xml"
[sensor.secrets]
vtapi = "literal-secret"
[[sensor]]
name = "hp1"
paths = ["/y"]
surprise = 1
[[sensor]]
paths = ["z"]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tallystick.toml"
    monkeypatch.setenv("TALLY_CONFIG", str(path))
    return path


def test_without_tables_there_are_no_sensors(config: Path) -> None:
    config.write_text("")
    assert load_settings().sensor == ()


def test_a_table_is_a_sensor(config: Path) -> None:
    config.write_text(
        '[[sensor]]\nname = "hp 1"\npaths = ["a", "b/*.gz"]\nformat = "pretty"\ntime_zone = "Europe/Berlin"\n'
        'tags = ["dmz"]\nsecrets = { vtapi = "env:VT", dshield = "file:/run/secrets/d s" }\n'
        '[[sensor]]\nname = "hp2"\npaths = ["c"]\n'
    )
    first, second = load_settings().sensor
    assert (first.name, first.paths, first.format) == ("hp 1", ("a", "b/*.gz"), "pretty")
    assert (first.time_zone, first.tags) == ("Europe/Berlin", ("dmz",))
    assert first.secrets == {"vtapi": "env:VT", "dshield": "file:/run/secrets/d s"}
    assert second == SensorSettings(name="hp2", paths=("c",), format="auto", time_zone="UTC", tags=(), secrets={})


def test_everything_that_is_wrong_is_told_at_once(config: Path) -> None:
    config.write_text(WRONG)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    told = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert told == [
        "kafka.partitions",
        "sensor.0.name (sensor 'a,b')",
        "sensor.0.paths (sensor 'a,b')",
        "sensor.0.time_zone (sensor 'a,b')",
        "sensor.1.format (sensor 'hp1')",
        "sensor.1.secrets.vtapi (sensor 'hp1')",
        "sensor.2.surprise (sensor 'hp1')",
        "sensor.3.name",
        "sensor.2.name (sensor 'hp1')",
    ]
    assert "two sensors have this name" in str(caught.value)
    assert "Mars/Base" in str(caught.value)
    assert "literal-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("all", id="the word for all of them"),
        pytest.param("a,b", id="a comma, which parts names"),
        pytest.param("a\x1b[31m", id="a control code"),
        pytest.param("a\u202eb", id="a change of the writing direction"),
        pytest.param(" a", id="a blank before it"),
        pytest.param("x" * 256, id="too long"),
    ],
)
def test_a_name_that_can_not_be_used_is_refused(name: str, config: Path) -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in name)
    config.write_text(f'[[sensor]]\nname = "{escaped}"\npaths = ["x"]\n')
    with pytest.raises(ConfigurationError, match=r"sensor\.0\.name"):
        load_settings()


@pytest.mark.parametrize("name", ["a/b", "..", "<script>", "'; DROP TABLE sensors", "høst", "x" * 255])
def test_a_name_that_is_only_odd_is_taken(name: str, config: Path) -> None:
    config.write_text(f'[[sensor]]\nname = "{name}"\npaths = ["x"]\n')
    assert load_settings().sensor[0].name == name


def test_sensors_of_another_type_are_an_error(config: Path) -> None:
    config.write_text("sensor = 3\n")
    with pytest.raises(ConfigurationError, match="sensor: "):
        load_settings()
