"""The local stack with real servers: started once, killed, recovered, stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tallystick.errors import ServiceError
from tallystick.local import ports, processes, stack
from tallystick.settings import Settings

UP = """
from tallystick.local import stack
from tallystick.settings import load_settings
print(stack.up(load_settings()).started)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(home=tmp_path / "a home")
    yield settings
    stack.down(settings)


def write(found: stack.LocalStack) -> None:
    """Create a topic and a table, and put one record and one row there."""
    admin = AdminClient({"bootstrap.servers": found.bootstrap_servers})
    for future in admin.create_topics([NewTopic("t", num_partitions=1, replication_factor=1)]).values():
        future.result(timeout=30)
    producer = Producer({"bootstrap.servers": found.bootstrap_servers, "acks": "all"})
    producer.produce("t", value=b"a record")
    assert producer.flush(30) == 0
    with psycopg.connect(found.database_url.get_secret_value()) as connection:
        connection.execute("CREATE TABLE t (text text)")
        connection.execute("INSERT INTO t VALUES ('a row')")


def read(found: stack.LocalStack) -> tuple[list[bytes | None], list[str]]:
    """Return the values of the topic's records and of the table's rows."""
    consumer = Consumer({"bootstrap.servers": found.bootstrap_servers, "group.id": "test"})
    consumer.assign([TopicPartition("t", 0, 0)])
    _, end = consumer.get_watermark_offsets(TopicPartition("t", 0), timeout=30)
    records = [record.value() for record in consumer.consume(num_messages=end, timeout=30)]
    consumer.close()
    with psycopg.connect(found.database_url.get_secret_value()) as connection:
        rows = [text for (text,) in connection.execute("SELECT text FROM t").fetchall()]
    return records, rows


def pids(settings: Settings) -> list[int]:
    return [status.pid for status in stack.status(settings) if status.pid]


def test_the_local_stack_is_started_once_survives_kill_9_and_stops_cleanly(settings: Settings, tmp_path: Path) -> None:
    # Ten commands race (five here): each returns with both servers up, and each server was started by one of them.
    environment = os.environ | {"TALLY_HOME": str(settings.home)}
    racers = [
        subprocess.Popen([sys.executable, "-c", UP], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    answers = [racer.communicate(timeout=240)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 5
    assert "".join(answers).count("kafka") == 1
    assert "".join(answers).count("database") == 1

    # Both outlive the commands that started them, and a later command joins them.
    found = stack.up(settings)
    assert found.started == ()
    assert [status.state for status in stack.status(settings)] == ["up", "up"]
    write(found)
    killed = pids(settings)
    assert len(killed) == 2

    # kill -9, and a stranger takes Kafka's port: another port, the same data.
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not pids(settings), seconds=20)
    port = int(found.bootstrap_servers.rsplit(":", 1)[1])
    with subprocess.Popen(
        [sys.executable, "-c", f"import socket; socket.create_server(('{ports.HOST}', {port})).accept()"]
    ) as stranger:
        assert processes.wait_until(lambda: not ports.is_free(port), seconds=20)
        again = stack.up(settings)
        stranger.kill()
    assert again.started == ("kafka", "database")
    assert again.bootstrap_servers != found.bootstrap_servers
    assert again.database_url == found.database_url
    assert read(again) == ([b"a record"], ["a row"])

    # A server that lost its pid file is joined, not started a second time.
    for folder in ("kafka", "postgres"):
        (settings.home / "local" / folder / "server.pid").unlink()
    assert stack.up(settings).started == ()

    # Down leaves no process, and says so once.
    running = pids(settings)
    assert stack.down(settings) == ("kafka", "database")
    assert [processes.identify(pid) for pid in running] == [None, None]
    assert processes.working_in(settings.home / "local" / "postgres" / "data") == []
    assert [status.state for status in stack.status(settings)] == ["down", "down"]
    assert stack.down(settings) == ()


def test_only_what_is_not_configured_is_started(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": "somewhere:9092"})
    resolved = stack.resolve(settings.model_copy(update={"kafka": kafka}))
    assert resolved.kafka == kafka
    assert resolved.database.url is not None
    with psycopg.connect(resolved.database.url.get_secret_value()) as connection:
        row = connection.execute(
            "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale"
            " FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row == ("UTF8", "b", "C.UTF-8")
    assert [status.name for status in stack.status(settings) if status.pid] == ["database"]
    password = settings.home / "local" / "postgres" / "password"
    assert password.stat().st_mode & 0o777 == 0o600
    assert password.read_text() not in "".join(status.address for status in stack.status(settings))


def test_a_server_that_can_not_start_says_why_and_where_its_log_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_KAFKA_HEAP", "nonsense")
    database = settings.database.model_copy(update={"url": "sqlite:///x.db"})
    with pytest.raises(ServiceError, match=r"(?s)Invalid maximum heap size") as caught:
        stack.up(settings.model_copy(update={"database": database}))
    assert str(settings.home / "local" / "kafka" / "server.log") in str(caught.value)
