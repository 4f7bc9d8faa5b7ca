"""All settings, in one object: defaults, then `tallystick.toml`, then environment variables `TALLY_…`.

Nested names are joined by two underscores: `TALLY_KAFKA__BOOTSTRAP_SERVERS`, `TALLY_DATABASE__URL`. The file is the one
that `TALLY_CONFIG` names, else `tallystick.toml` in the working directory.
"""

import os
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from tallystick.contracts.timestamps import zone_named
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


class StatusSettings(_Section):
    """Files in which a load says how far it is, for dashboards (`tally load --status-dir`)."""

    dir: Path | None = None
    """The folder that they are written to. None: no status files."""
    poll_seconds: Seconds = 10.0
    """They are written at most this often, and once at the end."""


class MediaSettings(_Section):
    """Media: where their images, listings, contents and archives lie, and how hard is tried to get at them."""

    store: Path | None = None
    """The folder of contents by their digest. None: `media/by-hash` below `home`."""
    images: Path | None = None
    """The folder that devices are imaged into. None: `media/img` below `home`."""
    listings: Path | None = None
    """The folder of listings, `<medium>.raw`. None: `media/raw` below `home`."""
    archives: Path | None = None
    """The folder of archives, `<medium>.tar.zst`. None: `media/archive` below `home`."""
    patterns: Path | None = None
    """A file of rules, one regular expression a line: paths that match need no copy. None: everything is copied."""
    workers: Count = 2
    """How many processes work on stages, and how many files of a medium are copied at once."""
    file_tries: Count = 5
    """How often a file is read before it counts as failed."""
    stage_tries: Count = 3
    """How often a stage is begun, after its process was killed or has hung, before it counts as failed."""
    silence_seconds: Seconds = 120.0
    """After how many seconds without a word the process of a stage counts as hung, and is killed."""
    lease_seconds: Seconds = 30.0
    """For how long a medium belongs to who works on it, after the last word."""
    sample_files: Annotated[int, Field(ge=0)] = 100
    """How many contents of a copied medium are read again before the copy counts as done, chosen anew each time."""
    max_failed_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the files of a medium, the share that may fail before the copy as a whole has failed; 1 is no limit."""


CollectionPattern = Annotated[str, Field(pattern=r"^[a-zA-Z0-9.*-]{1,317}$")]


class AtprotoSettings(_Section):
    """AT Protocol: what is checked, what is kept, and how much is asked of hosts and of this machine."""

    validation: Literal["off", "hash", "signature", "inductive"] = "inductive"
    """How much of a commit is checked (docs/explanation/atproto-validation.md), each level with those before it."""
    plc_url: str = "https://plc.directory"
    """The directory that resolves `did:plc`."""
    private_hosts: bool = False
    """Whether hosts that DID documents name may lie at private addresses, or on this machine. Anybody can write a DID
    document, and so have this program ask what only it can reach; hosts that are named here or on the command line are
    always asked."""
    resync: Literal["off", "known", "all"] = "known"
    """Which repositories are fetched as a whole once they are not synchronised: none, those that were synchronised or
    fetched before, or all that are heard of."""
    begin: Literal["live", "oldest"] = "live"
    """Where a firehose begins that was never read: with what happens now, or with the oldest event its host has."""
    labels_begin: Literal["live", "oldest"] = "oldest"
    """The same of a labeler: its oldest event, as labels count until they are negated, however old they are."""
    future_cursor: Literal["halt", "live", "oldest"] = "halt"
    """What to do where a host has not come as far as the cursor. `halt`: the task ends and is not started again, as
    the protocol wants a person to look; else go on with what happens now, or with the oldest event."""
    collections: tuple[CollectionPattern, ...] = ()
    """Which collections are kept: names, or patterns with `*`, such as `app.bsky.*`. None: all."""
    dids: tuple[str, ...] = ()
    """Which accounts are kept. None: all."""
    languages: tuple[str, ...] = ()
    """Of records that name their languages (`langs`), those that are kept, such as `de`; `de` stands for `de-AT` too.
    None: all."""
    ping_seconds: Seconds = 30.0
    """How often a stream's connection is asked whether it is alive; without an answer in half of that it is dropped."""
    idle_seconds: Annotated[float, Field(ge=0)] = 600.0
    """After how many seconds without an event a stream that answers pings is connected anew; 0: never. A quiet host is
    no fault: this only guards against servers that forget a subscriber."""
    high_water_frames: Count = 5_000
    """So many frames may wait for identities or for Kafka; then the socket is not read until there is room."""
    high_water_bytes: Count = 64 * 1024 * 1024
    """So many bytes of frames may wait."""
    checkpoint_seconds: Seconds = 1.0
    """How often a cursor is stored at most. After a crash so much is sent again, and counts once."""
    reconnect_max_seconds: Seconds = 64.0
    """The longest wait before a stream is connected again."""
    identity_seconds: Seconds = 24 * 3600.0
    """How long a resolved identity is used before it is resolved anew."""
    identities: Count = 200_000
    """How many resolved identities are kept in memory."""
    http_seconds: Seconds = 30.0
    """How long a host may take to answer a request that is no repository."""
    fetchers: Count = 8
    """How many repositories are fetched at once."""
    fetchers_per_host: Count = 2
    """How many of them a host is sending at once."""
    fetch_seconds: Seconds = 900.0
    """How long a fetch may take."""
    fetch_bytes: Count = 1024 * 1024 * 1024
    """How large a repository may be, in bytes of its CAR."""
    fetch_slowest: Count = 1024
    """Bytes a second below which a fetch is given up, over 30 seconds."""
    fetch_tries: Count = 5
    """How often a fetch is tried before its repository has failed; waits in between grow, up to an hour."""
    relist_seconds: Seconds = 24 * 3600.0
    """After how long the list of a host's repositories is asked for anew by a service that goes on."""
    redis_url: SecretStr | None = None
    """Where consumers of the streams of rsky-ingester are fed (`tally run atproto-redis`). None: nowhere."""
    redis_high_water: Count = 100_000
    """Length of one of those streams from which on nothing is written to it until it is shorter. Nothing is dropped."""
    redis_batch: Count = 500
    """Kafka records that are written to Redis at once at most."""
    redis_repository_host: str = "https://bsky.network"
    """What consumers of `repo_backfill` are told to ask for a repository of which no host is known."""


class MetricsSettings(_Section):
    """Where a service tells how it is: `/metrics` for Prometheus, `/health` and `/ready`."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """The port; 0 for any that is free. None: it isn't served."""
    address: str = "127.0.0.1"
    """The address that it is served at; `0.0.0.0` for all of this machine's."""


ALL_SENSORS = "all"
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,254}|file:[^\x00-\x1f\x7f]{1,4096}")


def _usable_name(name: str) -> str:
    if not name.isprintable() or "," in name or name != name.strip():
        raise ValueError("give printable characters, no comma, and no blank at either end")
    if name == ALL_SENSORS:
        raise ValueError("this word stands for every sensor; give another name")
    return name


def is_reference(value: object) -> bool:
    """Return whether `value` says where a secret is, as `env:NAME` or `file:PATH`."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def _only_reference(value: str) -> str:
    if not is_reference(value):
        raise ValueError("a secret does not belong here; write where it is: env:NAME or file:PATH")
    return value


def _known_zone(name: str) -> str:
    zone_named(name)
    return name


SensorName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_usable_name)]
Reference = Annotated[str, AfterValidator(_only_reference)]


class SensorSettings(_Section):
    """A honeypot, and where its logs lie. One table each."""

    name: SensorName
    """The sensor of events that name none; what `--sensor` takes. Not `all`, and no comma."""
    paths: Annotated[tuple[Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")], ...], Field(min_length=1)]
    """Log files, folders and patterns."""
    format: Literal["auto", "lines", "pretty", "array"] = "auto"
    """How the events stand in the files: one a line, as objects over several lines, or in one array."""
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """The IANA name of the zone that timestamps without one are in, such as `Europe/Berlin`."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = ()
    """Words to group sensors by; `tally sensors list` shows them."""
    secrets: dict[str, Reference] = {}
    """Secrets that belong to the sensor, each as a reference, `env:NAME` or `file:PATH`; never the secret itself."""


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
    status: StatusSettings = StatusSettings()
    media: MediaSettings = MediaSettings()
    atproto: AtprotoSettings = AtprotoSettings()
    metrics: MetricsSettings = MetricsSettings()
    sensor: tuple[SensorSettings, ...] = ()
    """The sensors, each a table `[[sensor]]`."""

    @property
    def media_store(self) -> Path:
        """The folder of contents by their digest."""
        return self.media.store or self.home / "media" / "by-hash"

    @property
    def media_images(self) -> Path:
        """The folder that devices are imaged into."""
        return self.media.images or self.home / "media" / "img"

    @property
    def media_listings(self) -> Path:
        """The folder of listings."""
        return self.media.listings or self.home / "media" / "raw"

    @property
    def media_archives(self) -> Path:
        """The folder of archives."""
        return self.media.archives or self.home / "media" / "archive"

    @field_validator("sensor", mode="wrap")
    @classmethod
    def _names_differ(cls, tables: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """Tell of names that are given twice together with all else that is wrong with sensors."""
        try:
            found, wrong = handler(tables), []
        except ValidationError as error:
            found, wrong = (), [_again(details) for details in error.errors()]
        wrong += _repeated_names(tables)
        if wrong:
            raise ValidationError.from_exception_data("sensor", wrong, hide_input=True)
        return found

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
        wrong = "\n".join(f"  {_place(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(f"settings are not right (environment TALLY_… or {config_path()}):\n{wrong}") from None
    except ValueError as error:
        raise ConfigurationError(f"{config_path()} can't be read as TOML: {error}") from error


def sensor_from(table: dict[str, Any]) -> SensorSettings:
    """Return the sensor of one table. Raises ConfigurationError with all that is wrong, and no value of it."""
    try:
        return SensorSettings.model_validate(table)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(wrong) from None


def _again(details: Any) -> InitErrorDetails:
    """Return an error that pydantic told of in the form in which it can be raised again, without the value."""
    kind = PydanticCustomError("sensor", "{message}", {"message": details["msg"]})
    return InitErrorDetails(type=kind, loc=details["loc"], input=None)


def _repeated_names(tables: Any) -> list[InitErrorDetails]:
    names = [_name(table) for table in tables] if isinstance(tables, list | tuple) else []
    twice = {name for name, times in Counter(names).items() if name and times > 1}
    kind = PydanticCustomError("sensor", "two sensors have this name; give each a name of its own")
    last = {name: index for index, name in enumerate(names)}
    return [InitErrorDetails(type=kind, loc=(last[name], "name"), input=None) for name in last if name in twice]


def _place(location: tuple[int | str, ...]) -> str:
    """Return where a setting stands; of a sensor's, with the sensor's name where the file tells it."""
    place = ".".join(map(str, location))
    match location:
        case ("sensor", int(index), *_) if name := _sensor_names().get(index):
            return f"{place} (sensor {name!r})"
    return place


def _sensor_names() -> dict[int, str]:
    try:
        tables = tomllib.loads(config_path().read_text()).get("sensor", [])
    except (OSError, ValueError):
        return {}
    return {index: name for index, table in enumerate(tables) if (name := _name(table))}


def _name(table: Any) -> str:
    name = table.get("name") if isinstance(table, dict) else getattr(table, "name", None)
    return name if isinstance(name, str) else ""
