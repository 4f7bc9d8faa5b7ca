"""All settings, in one object: defaults, then `tallystick.toml`, then environment variables `TALLY_…`.

Nested names are joined by two underscores: `TALLY_KAFKA__BOOTSTRAP_SERVERS`, `TALLY_DATABASE__URL`. The file is the one
that `TALLY_CONFIG` names, else `tallystick.toml` in the working directory.
"""

import os
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from tallystick.contracts.topics import Topic
from tallystick.errors import ConfigurationError

Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """Which Kafka to use, and how. Without `bootstrap_servers` the local stack is started or joined."""

    bootstrap_servers: str | None = None
    """Where Kafka is reached: `host:port`, several separated by commas. None: the local stack's."""
    topic_prefix: str = Field(default="", pattern=r"^[a-zA-Z0-9._-]{0,64}$")
    """Stands before the name of every topic and consumer group, so that several deployments can share a cluster."""
    partitions: Count = 4
    """Partitions of each scaled topic. Can't be changed once the topics exist: keys would move."""
    replication_factor: Count = 1
    """Replicas of each topic, where `tally` creates it."""
    retention_ms: int = Field(default=-1, ge=-1)
    """How long topics that aren't compacted keep a record, in milliseconds; -1: for ever."""
    client: dict[str, str] = {}
    """Further librdkafka properties, such as `security.protocol`. Faust's client takes those of TLS and SASL over."""

    def topic(self, topic: Topic) -> str:
        """Return the name of `topic` in this deployment."""
        return self.topic_prefix + topic.name

    def group(self, name: str) -> str:
        """Return the name of a consumer group in this deployment."""
        return f"{self.topic_prefix}tallystick-{name}"


class DatabaseSettings(_Section):
    """Which database to fill: an SQLAlchemy URL (`postgresql://…` or `sqlite:///…`). Without one, the local stack's."""

    url: SecretStr | None = None
    """For example `postgresql://user:password@host/name` or `sqlite:////path/to/file.db`. None: the local stack's."""
    schema_name: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """PostgreSQL only: the schema that holds the tables; the role's default where it is not given."""


class ReaderSettings(_Section):
    """How producers read. A window is what is read before it is grouped by key and sent."""

    window_bytes: Count = 8 * 1024 * 1024
    """Bytes of content, decompressed, that a window holds at most."""
    window_seconds: Seconds = 0.25
    """Seconds that a window is filled at most."""
    max_line_bytes: Annotated[int, Field(gt=0, le=12 * 1024 * 1024)] = 12 * 1024 * 1024
    """A longer line becomes a dead letter."""
    max_dead_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the lines of a log, or the records of a topic that is re-keyed, the share that may be dead letters. A source
    that goes beyond it is not read on, and has failed; 1 is no limit. What a crash of Cowrie leaves behind is little:
    where most lines are no events, it is something else, or a format that this version can't read."""
    max_dead_after: Count = 1_000
    """From how many lines on that share is looked at: before, one odd line in a small file would weigh too much."""
    max_events_per_record: Count = 2_000
    """Events of one session in one Kafka record at most; 1 gives one JSON object a record."""
    heartbeat_seconds: Seconds = 10.0
    """How often a reader says that it is at work."""
    settle_seconds: Seconds = 2.0
    """How long the last, unfinished line of a file that has just been written to may take to be finished."""


class FollowSettings(_Section):
    """How a reader follows files that are still written to."""

    watch: str = Field(default="notify", pattern="^(notify|poll)$")
    """`notify`: the operating system tells of changes at once. `poll`: for network mounts, whose changes by other hosts
    it doesn't tell of; all files are looked at every `poll_seconds`."""
    poll_seconds: Seconds = 0.5
    """How often all files are looked at where nothing tells of changes."""
    rescan_seconds: Seconds = 5.0
    """How often all files are looked at besides, where changes are told of."""
    quiet_seconds: Seconds = 5.0
    """How long a rotated or compressed file must have been left alone before it counts as complete."""
    idle_seconds: Seconds = 60.0
    """After how many seconds without a change a file is closed, until it changes."""
    checkpoint_seconds: Seconds = 5.0
    """How often a checkpoint of a live source is sent at most. After a crash so much is sent again, and counts once."""


class AgentSettings(_Section):
    """How Faust agents work: the bounds of a checkpoint, and the memory of the state store."""

    checkpoint_records: Count = 1_000
    """Kafka records in one checkpoint at most."""
    checkpoint_seconds: Seconds = 0.2
    """How long a checkpoint waits for more records."""
    cache_bytes: Count = 32 * 1024 * 1024
    """The state database's cache, in bytes."""


class SinkSettings(_Section):
    """How sinks batch, and how long they wait while the database is away before they try again."""

    batch_records: Count = 4_000
    """Kafka records in one transaction of the database at most."""
    batch_bytes: Count = 16 * 1024 * 1024
    """Bytes of records after which a batch is full."""
    batch_seconds: Seconds = 0.2
    """How long a batch waits for more records."""
    retry_max_seconds: Seconds = 10.0
    """The longest wait between two tries."""


class VerifierSettings(_Section):
    """How long a session may differ without any change before the verifier reports the difference."""

    settle_seconds: Seconds = 5.0
    """In this time events of other sources may still arrive."""


def default_home() -> Path:
    """Return the user's data folder; root's own is closed to the account that PostgreSQL runs as, so `/var/lib`."""
    return Path("/var/lib/tallystick") if os.geteuid() == 0 else platformdirs.user_data_path("tallystick")


class Settings(BaseSettings):
    """The settings of one process. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="TALLY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    home: Path = Field(default_factory=default_home)
    """Where the local stack, the agents' state and the logs live (`TALLY_HOME`)."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """What is logged at least."""
    log_format: str = Field(default="auto", pattern="^(auto|json|text)$")
    """JSON lines, readable text, or text on a terminal and JSON elsewhere."""
    stall_seconds: Seconds = 600.0
    """How long a load may stand still before it gives up and says what it waits for."""
    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    reader: ReaderSettings = ReaderSettings()
    follow: FollowSettings = FollowSettings()
    agents: AgentSettings = AgentSettings()
    sinks: SinkSettings = SinkSettings()
    verifier: VerifierSettings = VerifierSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; no dotenv, no secret folder: one way each."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_path())


def config_path() -> Path:
    """Return the configuration file's path; the file need not exist."""
    return Path(os.environ.get("TALLY_CONFIG", "tallystick.toml"))


def load_settings() -> Settings:
    """Return the settings of this process. Raises ConfigurationError that names every wrong setting at once."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(f"settings are not right (environment TALLY_… or {config_path()}):\n{wrong}") from None
    except ValueError as error:
        raise ConfigurationError(f"{config_path()} can't be read as TOML: {error}") from error
