"""`tally up`, `down`, `status`, `doctor` with both servers configured: nothing is started, nothing secret shown."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tallystick.cli.stack import register
from tallystick.local import ports, stack


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stack, "CONFIGURED_SECONDS", 1)
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TALLY_KAFKA__BOOTSTRAP_SERVERS", f"{ports.HOST}:{ports.choose(taken=set())}")
    monkeypatch.setenv("TALLY_DATABASE__URL", f"postgresql://me:secret@{ports.HOST}:{ports.choose(taken=set())}/name")
    app = typer.Typer()
    register(app)
    return app


def test_up_names_what_is_configured_and_down_has_nothing_to_stop(app: typer.Typer, tmp_path: Path) -> None:
    lines = CliRunner().invoke(app, ["up"]).output.splitlines()
    assert [line.split()[:2] for line in lines] == [["kafka", "configured"], ["database", "configured"]]
    assert "secret" not in str(lines)
    assert CliRunner().invoke(app, ["down"]).output == "nothing was running\n"
    assert not (tmp_path / "home").exists()


def test_status_tells_that_configured_servers_do_not_answer(app: typer.Typer) -> None:
    found = json.loads(CliRunner().invoke(app, ["status", "--json"]).output)
    assert [(status["name"], status["origin"], status["state"]) for status in found["servers"]] == [
        ("kafka", "configured", "unreachable"),
        ("database", "configured", "unreachable"),
    ]
    assert "secret" not in str(found)


def test_doctor_ends_with_1_where_something_is_missing(app: typer.Typer) -> None:
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 1
    assert "MISSING  configured kafka" in answer.output
    assert "OK       python" in answer.output
    assert "secret" not in answer.output


def test_doctor_prints_json_for_programs(app: typer.Typer) -> None:
    findings = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert all(bool(finding["remedy"]) is not finding["ok"] for finding in findings)
