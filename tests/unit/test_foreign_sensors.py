"""`tally sensors import`: what is taken of cowrieprocessor's file, and that no secret ever is."""

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tallystick.cli.foreign_sensors import as_toml, merged, read_foreign
from tallystick.cli.sensors import app
from tallystick.errors import ConfigurationError, UsageError
from tallystick.settings import SensorSettings, load_settings

THEIRS = """
[defaults]
api = "hunter2"

[[sensor]]
name = "honeypot-a"
logpath = "/srv/a/cowrie"
summarydays = 90
email = "ops@example.org"
vtapi = "env:VT_API_KEY"
dshield_password = "file:/run/secrets/dshield"

[[sensor]]
name = "honeypot-b"
logpath = "/srv/b/cowrie"
urlhausapi = "hunter2"
spurapi = "env:not a name"
"""
OURS = """\
[[sensor]]
name = "honeypot-a"
paths = ["/srv/a/cowrie"]
secrets = { "vtapi" = "env:VT_API_KEY", "dshield_password" = "file:/run/secrets/dshield" }

[[sensor]]
name = "honeypot-b"
paths = ["/srv/b/cowrie"]
"""


def test_sensors_are_taken_with_references_and_nothing_that_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VT_API_KEY", "hunter3")
    found = read_foreign(THEIRS, origin="sensors.toml")
    assert as_toml(found.sensors) == OURS
    assert [warning.partition(" is left out: ")[0] for warning in found.warnings] == [
        "[defaults]",
        "sensor 'honeypot-a': summarydays",
        "sensor 'honeypot-a': email",
        "sensor 'honeypot-b': urlhausapi",
        "sensor 'honeypot-b': spurapi",
    ]
    told = "\n".join([*found.warnings, as_toml(found.sensors)])
    assert "hunter" not in told
    assert "not a name" not in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a = ", ["can't be read as TOML"], id="no TOML"),
        pytest.param("[sensor]\nname = 'x'", ["holds no [[sensor]] table"], id="no list of tables"),
        pytest.param("sensor = [1]", ["sensor number 1: it is no table"], id="a list of something else"),
        pytest.param(
            "[[sensor]]\nlogpath='/a'\n[[sensor]]\nname='b'\n[[sensor]]\nname='all'\nlogpath='/c'",
            ["sensor number 1: name: ", "sensor 'b': paths: ", "sensor 'all': name: "],
            id="everything that is wrong at once",
        ),
        pytest.param(
            "[[sensor]]\nname='a'\nlogpath='/a'\n[[sensor]]\nname='a'\nlogpath='/b'",
            ["sensor 'a': another sensor of the file has this name"],
            id="a name given twice",
        ),
        pytest.param(
            "[[sensor]]\nname='a'\nlogpath='env:LOGS'",
            ["logpath is a reference; write the path"],
            id="a path elsewhere",
        ),
    ],
)
def test_what_can_not_be_imported_is_an_error_that_says_what(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_foreign(text, origin="theirs.toml")
    assert str(caught.value).startswith("theirs.toml ")
    for word in words:
        assert word in str(caught.value)


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
names = text.filter(lambda name: name.isprintable() and "," not in name and name == name.strip() and name != "all")
paths = text.filter(lambda path: "\0" not in path)


@given(
    st.lists(st.tuples(names, st.lists(paths, min_size=1), st.lists(text)), max_size=4, unique_by=lambda one: one[0])
)
def test_what_is_written_is_read_as_the_same(found: list[tuple[str, list[str], list[str]]]) -> None:
    sensors = [SensorSettings(name=name, paths=tuple(paths), tags=tuple(tags)) for name, paths, tags in found]
    tables = tomllib.loads(as_toml(sensors)).get("sensor", [])
    assert [SensorSettings.model_validate(table) for table in tables] == sensors


def test_new_sensors_come_after_what_is_there_and_known_ones_stay(tmp_path: Path) -> None:
    there = '# mine\n[kafka]\npartitions = 8\n\n[[sensor]]\nname = "honeypot-a"\npaths = ["/elsewhere"]'
    result, known = merged(there, read_foreign(THEIRS, origin="x").sensors, origin="mine.toml")
    assert result.startswith(f"{there}\n\n[[sensor]]\n")
    assert known == ["honeypot-a"]
    again, known = merged(result, read_foreign(THEIRS, origin="x").sensors, origin="mine.toml")
    assert (again, known) == (result, ["honeypot-a", "honeypot-b"])


def test_sensors_in_a_form_that_can_not_be_added_to_are_left_alone() -> None:
    with pytest.raises(ConfigurationError, match=r"mine.toml holds `sensor` in another form"):
        merged(
            "sensor = [{ name = 'x', paths = ['y'] }]\n", read_foreign(THEIRS, origin="x").sensors, origin="mine.toml"
        )


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALLY_CONFIG", str(tmp_path / "tallystick.toml"))
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    (tmp_path / "sensors.toml").write_text(THEIRS)
    return tmp_path / "tallystick.toml"


def test_without_write_they_are_printed_and_with_it_they_are_settings(config: Path) -> None:
    theirs = str(config.with_name("sensors.toml"))
    printed = CliRunner().invoke(app, ["import", theirs])
    assert (printed.exit_code, printed.stdout, config.exists()) == (0, OURS, False)
    config.write_text("log_level = 'info'\n")
    config.chmod(0o600)
    written = CliRunner().invoke(app, ["import", theirs, "--write"])
    assert (written.exit_code, written.stdout) == (0, f"2 added to {config}\n")
    assert [sensor.name for sensor in load_settings().sensor] == ["honeypot-a", "honeypot-b"]
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    before = config.read_bytes()
    again = CliRunner().invoke(app, ["import", theirs, "--write"])
    assert again.stdout == f"0 added to {config}\n"
    assert "honeypot-a: is there already, and stays as it is" in again.stderr
    assert config.read_bytes() == before


def test_a_file_that_can_not_be_read_is_a_usage_error(config: Path) -> None:
    assert isinstance(CliRunner().invoke(app, ["import", str(config.with_name("none.toml"))]).exception, UsageError)
    config.with_name("sensors.toml").write_bytes(b"a = '\xff'")
    found = CliRunner().invoke(app, ["import", str(config.with_name("sensors.toml"))]).exception
    assert "no UTF-8 at byte 5" in str(found)


def test_hostile_names_reach_no_terminal_as_control_codes(config: Path) -> None:
    config.with_name("sensors.toml").write_text('[[sensor]]\nname = "a"\nlogpath = "/x"\n"k\\u001b[31m" = "v"\n')
    done = CliRunner().invoke(app, ["import", str(config.with_name("sensors.toml"))])
    assert (done.exit_code, "\x1b" in done.stderr) == (0, False)
    assert r"k\x1b[31m is left out" in done.stderr


def test_sensors_are_listed_with_their_files_and_what_is_wrong_with_them(config: Path) -> None:
    logs = config.with_name("logs")
    logs.mkdir()
    (logs / "cowrie.json").touch()
    (logs / "cowrie.json.1.gz").touch()
    config.write_text(f'[[sensor]]\nname = "hp1"\npaths = ["{logs}", "/nowhere/at/all"]\ntags = ["dmz"]\n')
    done = CliRunner().invoke(app, ["list"])
    head, row, problem = done.stdout.splitlines()
    assert head.split() == [
        "sensor",
        "paths",
        "format",
        "time",
        "zone",
        "tags",
        "files",
        "newest",
        "event",
        "last",
        "heard",
    ]
    assert row.split()[0] == "hp1"
    assert row.split()[-5:] == ["UTC", "dmz", "2", "-", "-"]
    assert problem == "hp1: /nowhere/at/all: no such file; check the path"
    assert "the database is not there" in done.stderr


def test_where_no_sensor_is_configured_the_list_says_what_to_do(config: Path) -> None:
    assert "add [[sensor]] tables" in CliRunner().invoke(app, ["list"]).stdout
    assert CliRunner().invoke(app, ["list", "--json"]).stdout.strip() == "[]"
