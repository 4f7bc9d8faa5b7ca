"""The servers that integration and fault tests run on, by one fixture.

Configured ones (`TALLY_KAFKA__BOOTSTRAP_SERVERS`, `TALLY_DATABASE__URL`), else containers where a Docker engine
answers, else the local stack in a folder of this test run, which all processes of the run share: a broker of its own
for each would cost more than what it does. Each test has topics and a schema of its own.
"""

import os
import shutil
import subprocess
import tempfile
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

PARTITIONS = 2
"""Enough for order and sharing to matter. A test makes twenty topics, and the broker pays for each partition."""
_HOME = "TALLY_TEST_HOME"
"""Names the folder of the servers to the processes that run tests, in their environment."""


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder, in the process that starts the others."""
    if not _is_helper(config):
        os.environ[_HOME] = tempfile.mkdtemp(prefix="tally-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Stop the servers, once the other processes have ended; what they have logged is kept where a test failed."""
    if not _is_helper(session.config):
        stack.down(_local())
        if exitstatus == pytest.ExitCode.OK:
            shutil.rmtree(os.environ[_HOME], ignore_errors=True)


@pytest.fixture(scope="session")
def servers() -> Iterator[Settings]:
    """Settings that name a running Kafka and a running PostgreSQL."""
    configured = load_settings()
    if configured.kafka.bootstrap_servers and configured.database.url:
        yield _with_few_partitions(configured)
    elif _docker_answers():
        with _containers() as (bootstrap_servers, url):
            yield _with_few_partitions(_settings(configured, bootstrap_servers=bootstrap_servers, url=url))
    else:
        yield _with_few_partitions(stack.resolve(_local()))
    close_engines()


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


def _is_helper(config: pytest.Config) -> bool:
    """Say whether this process was started by another one to run some of its tests."""
    return hasattr(config, "workerinput")


def _local() -> Settings:
    return load_settings().model_copy(update={"home": Path(os.environ[_HOME])})


def _with_few_partitions(settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": PARTITIONS})})


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
