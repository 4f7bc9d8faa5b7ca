"""The audit names what does not hold by its code, and nothing else; on SQLite, without Kafka."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from sinks.media.audit.violations import MEANINGS, Code
from tallystick.database.engine import make_engine
from tallystick.settings import DatabaseSettings, Settings
from tests.audit_world import MEDIUM, Archive
from tests.bad_states import BAD_STATES, Spoil
from tests.sinks import ready


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "tally.db"
    ready(_settings(path)).dispose()
    return path


@pytest.fixture
def archive(migrated: Path, tmp_path: Path) -> Iterator[Archive]:
    """An archive with one complete medium."""
    engine = make_engine(_settings(Path(shutil.copy(migrated, tmp_path))))
    made = Archive(engine, tmp_path / "media")
    made.add_medium()
    yield made
    engine.dispose()


def _settings(database: Path) -> Settings:
    return Settings(home=database.parent, database=DatabaseSettings(url=SecretStr(f"sqlite:///{database}")))


def test_where_everything_holds_nothing_is_found(archive: Archive) -> None:
    audit = archive.audit()
    [judged] = audit.run()
    assert (judged.standing, judged.medium) == ("COMPLETE", MEDIUM)  # type: ignore[union-attr]
    assert (audit.looked.media, audit.looked.blobs, audit.looked.files, audit.looked.said) == (1, 2, 2, 1)


@pytest.mark.parametrize(("code", "spoil"), BAD_STATES, ids=[f"{code}: {f.__name__}" for code, f in BAD_STATES])
def test_a_bad_state_is_named_by_its_code_alone(archive: Archive, code: str, spoil: Spoil) -> None:
    archive.add_medium("ffffffffffffffffffffffffffffffff", name="another", files={b"x": b"other"})
    spoil(archive)
    assert archive.codes() == [code]


def test_the_set_covers_every_invariant() -> None:
    assert {code for code, _ in BAD_STATES} == set(Code) == set(MEANINGS)
