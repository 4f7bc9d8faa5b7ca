"""The servers that integration and fault tests run on, by one fixture.

Configured ones (`TALLY_KAFKA__BOOTSTRAP_SERVERS`, `TALLY_DATABASE__URL`), else containers where a Docker engine
answers, else the local stack in a folder of this test run. Each test has topics and a schema of its own.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from tallystick.contracts.catalogue import TOPICS
from tallystick.database.engine import make_engine
from tallystick.kafka import topics
from tallystick.local import stack
from tallystick.settings import DatabaseSettings, KafkaSettings, Settings, load_settings
from tests.engines import close_engines


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings that name a running Kafka and a running PostgreSQL."""
    configured = load_settings()
    if configured.kafka.bootstrap_servers and configured.database.url:
        yield configured
    elif _docker_answers():
        with _containers() as (bootstrap_servers, url):
            yield _settings(configured, bootstrap_servers=bootstrap_servers, url=url)
    else:
        home = configured.model_copy(update={"home": tmp_path_factory.mktemp("home")})
        try:
            yield stack.resolve(home)
            close_engines()
        finally:
            stack.down(home)


@pytest.fixture
def settings(servers: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings of one test: topics of its own, which exist, an empty schema of its own, a home folder of its own."""
    with apart(servers, home=tmp_path / "home") as mine:
        yield mine


@contextmanager
def apart(servers: Settings, *, home: Path) -> Iterator[Settings]:
    """Give settings with topics that nobody else has, which exist, and an empty schema; in the end both are dropped."""
    name = f"t{uuid.uuid4().hex[:12]}"
    mine = servers.model_copy(
        update={
            "home": home,
            "kafka": servers.kafka.model_copy(update={"topic_prefix": f"{name}."}),
            "database": servers.database.model_copy(update={"schema_name": name}),
        }
    )
    topics.create(mine, TOPICS)
    yield mine
    drop_topics(mine)
    engine = make_engine(servers)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))
    engine.dispose()


def drop_topics(settings: Settings) -> None:
    """Delete all topics of a deployment: each is files that the broker holds open, and memory."""
    client = topics.admin(settings)  # nothing is deleted if it is gone before the answer
    for deleted in client.delete_topics([settings.kafka.topic(topic) for topic in TOPICS]).values():
        deleted.result()


@pytest.fixture
def kafka_settings(settings: Settings) -> Settings:
    """The same, for tests that need no database."""
    return settings


@pytest.fixture
def sqlite_settings(settings: Settings, tmp_path: Path) -> Settings:
    """The same with an SQLite file as the database."""
    return on_sqlite(settings, tmp_path)


def on_sqlite(settings: Settings, folder: Path) -> Settings:
    """Return `settings` with a file in `folder` as the database."""
    database = DatabaseSettings(url=SecretStr(f"sqlite:///{folder / 'tally.db'}"))
    return settings.model_copy(update={"database": database})


def _settings(base: Settings, *, bootstrap_servers: str, url: str) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    return base.model_copy(update={"kafka": kafka, "database": DatabaseSettings(url=SecretStr(url))})


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None or os.environ.get("TALLY_TEST_SERVERS") == "local":
        return False
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def _containers() -> Iterator[tuple[str, str]]:
    from testcontainers.kafka import KafkaContainer
    from testcontainers.postgres import PostgresContainer

    kafka = KafkaContainer().with_kraft()
    with kafka, PostgresContainer("postgres:18", driver="psycopg") as postgres:
        yield kafka.get_bootstrap_server(), postgres.get_connection_url()
