"""What the servers of the local stack are told, and which programs they are run with."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tallystick.contracts.topics import MAX_RECORD_BYTES
from tallystick.errors import ServiceError
from tallystick.local import binaries, java, kafka, postgres, reach, stack
from tallystick.settings import DatabaseSettings, KafkaSettings, Settings


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_kafka_listens_on_the_loopback_address_only() -> None:
    config = properties(kafka.render(data=Path("/d"), broker=1, controller=2))
    assert config["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert config["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1"
    assert config["controller.quorum.voters"] == "1@127.0.0.1:2"


def test_kafka_keeps_its_data_in_its_folder_for_ever() -> None:
    config = properties(kafka.render(data=Path("/a folder/d"), broker=1, controller=2))
    assert config["log.dirs"] == "/a folder/d"
    assert config["log.retention.ms"] == "-1"
    assert config["auto.create.topics.enable"] == "false"


def test_kafka_takes_the_largest_record_with_what_a_batch_adds() -> None:
    config = properties(kafka.render(data=Path("/d"), broker=1, controller=2))
    assert int(config["message.max.bytes"]) > MAX_RECORD_BYTES
    assert int(config["replica.fetch.max.bytes"]) >= int(config["message.max.bytes"])


def test_every_internal_topic_of_kafka_has_one_replica() -> None:
    config = properties(kafka.render(data=Path("/d"), broker=1, controller=2))
    replicated = {name: value for name, value in config.items() if name.endswith(("replication.factor", "min.isr"))}
    assert replicated == {
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }


def test_postgresql_is_crash_safe_and_reached_by_loopback_only() -> None:
    config = dict(line.split(" = ", 1) for line in postgres.render(port=5).splitlines())
    assert config["port"] == "'5'"
    assert config["listen_addresses"] == "'127.0.0.1'"
    assert config["unix_socket_directories"] == "''"
    assert {config[name] for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"'on'"}


@pytest.mark.parametrize(
    ("text", "major"),
    [
        pytest.param('openjdk version "25.0.2" 2026-01-20', 25, id="a newer Java"),
        pytest.param('openjdk version "17" 2021-09-14', 17, id="a first release"),
        pytest.param('java version "1.8.0_402"', 8, id="Java 8 calls itself 1.8"),
        pytest.param("command not found", None, id="no Java at all"),
    ],
)
def test_the_version_of_a_java(text: str, major: int | None) -> None:
    assert java.parse_major(text) == major


@pytest.mark.parametrize(
    ("text", "major"),
    [
        pytest.param("postgres (PostgreSQL) 18.6", 18, id="the packaged one"),
        pytest.param("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15, id="a distribution's"),
        pytest.param("postgres (PostgreSQL) 19beta1", 19, id="a beta"),
        pytest.param("EnterpriseDB", None, id="something else"),
    ],
)
def test_the_version_of_a_postgresql(text: str, major: int | None) -> None:
    assert binaries.parse_major(text) == major


def test_text_is_ordered_by_code_point_in_every_version() -> None:
    assert "--builtin-locale=C.UTF-8" in binaries.Binaries(folder=Path("/"), major=18).locale()
    assert binaries.Binaries(folder=Path("/"), major=15).locale() == ["--locale=C"]


@pytest.mark.parametrize(
    ("variable", "find"),
    [
        pytest.param("TALLY_JAVA", java.find, id="a Java"),
        pytest.param("TALLY_PG_BIN", binaries.find, id="a PostgreSQL"),
    ],
)
def test_what_was_asked_for_and_is_not_there_is_not_replaced(
    variable: str, find: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    assert callable(find)
    with pytest.raises(ServiceError, match=f"{variable}=.*pip install"):
        find()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("postgresql://me:pw@h:5/d", "postgresql://me@h:5/d", id="a password"),
        pytest.param("postgresql://h/d?password=pw&user=me", "postgresql://h/d", id="a password among the options"),
        pytest.param("sqlite:////tmp/a.db", "sqlite:////tmp/a.db", id="a file"),
        pytest.param("pw", "(not a database URL)", id="no URL"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert reach.without_password(SecretStr(url)) == shown


def test_an_sqlite_file_answers_if_it_can_be_made(tmp_path: Path) -> None:
    assert reach.database(SecretStr(f"sqlite:///{tmp_path}/new.db"), seconds=2)
    assert not reach.database(SecretStr(f"sqlite:///{tmp_path}/no/folder/new.db"), seconds=2)
    assert list(tmp_path.iterdir()) == []


def test_configured_servers_are_taken_untouched_and_nothing_is_started(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        kafka=KafkaSettings(bootstrap_servers="somewhere:9092"),
        database=DatabaseSettings(url=SecretStr("sqlite:///x.db")),
    )
    assert stack.resolve(settings) == settings
    assert stack.up(settings).started == ()
    assert stack.down(settings) == ()
    assert list(tmp_path.iterdir()) == []
