"""`tally doctor`: what is missing, and how to get it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tallystick.local import doctor, ports, stack
from tallystick.settings import DatabaseSettings, KafkaSettings, Settings


def test_only_what_these_settings_need_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "CONFIGURED_SECONDS", 1)
    nowhere = f"{ports.HOST}:{ports.choose(taken=set())}"
    settings = Settings(
        home=tmp_path / "not" / "made",
        kafka=KafkaSettings(bootstrap_servers=nowhere),
        database=DatabaseSettings(url=SecretStr(f"sqlite:///{tmp_path}/x.db")),
    )
    findings = {finding.name: finding for finding in doctor.examine(settings)}
    assert list(findings) == ["python", "data folder", "disk", "configured kafka", "configured database"]
    assert [name for name, finding in findings.items() if not finding.ok] == ["configured kafka"]
    assert "TALLY_KAFKA__BOOTSTRAP_SERVERS" in findings["configured kafka"].remedy


def test_a_missing_part_of_the_local_stack_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_JAVA", "/nothing/java")
    monkeypatch.setenv("TALLY_PG_BIN", "/nothing")
    missing = {finding.name: finding for finding in doctor.examine(Settings(home=tmp_path)) if not finding.ok}
    assert {"java", "postgresql"} <= set(missing)
    assert "TALLY_JAVA=/nothing/java" in missing["java"].remedy
    assert all("pip install" in missing[name].remedy for name in ("java", "postgresql"))


def test_a_folder_that_can_not_be_made_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = {finding.name: finding for finding in doctor.examine(Settings(home=tmp_path / "file" / "home"))}
    assert not findings["data folder"].ok
