"""Topics on a broker: created as the catalogue says, and compared with it."""

import time
from collections.abc import Iterable

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from tallystick.contracts.topics import Topic
from tallystick.errors import ServiceError
from tallystick.kafka.config import client_config
from tallystick.settings import Settings


class Deviation(msgspec.Struct, frozen=True):
    """A topic on the broker that is not as the catalogue says."""

    topic: str
    what: str
    expected: str
    found: str


class Existing(msgspec.Struct, frozen=True):
    """A topic as a cluster has it. `id` tells it from one of the same name that was there before it."""

    cluster: str
    id: str
    partitions: list[int]


def admin(settings: Settings) -> AdminClient:
    """Return an admin client."""
    return AdminClient(client_config(settings, client_id="admin"))


def cluster_id(settings: Settings, *, seconds: float = 30.0) -> str:
    """Return the id of the Kafka cluster. Raises ServiceError where it doesn't answer within `seconds`."""
    try:
        return str(admin(settings).list_topics(timeout=seconds).cluster_id)
    except KafkaException as error:
        raise ServiceError(_unreachable(settings, error)) from error


def find(settings: Settings, name: str, *, seconds: float = 30.0) -> Existing | None:
    """Return the topic `name`, whoever made it; None where there is none. Raises ServiceError."""
    client = admin(settings)
    try:
        known = client.list_topics(name, timeout=seconds)
        found = known.topics[name]
        if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        described = client.describe_topics(TopicCollection([name]), request_timeout=seconds)[name].result()
    except KafkaException as error:
        raise ServiceError(_unreachable(settings, error)) from error
    return Existing(str(known.cluster_id), str(described.topic_id), sorted(found.partitions))


def create(settings: Settings, topics: Iterable[Topic], *, seconds: float = 30.0) -> list[str]:
    """Create those of `topics` that the broker lacks, and return their names. Safe to repeat and to race."""
    client = admin(settings)
    try:
        existing = set(client.list_topics(timeout=seconds).topics)
    except KafkaException as error:
        raise ServiceError(_unreachable(settings, error)) from error
    wanted = {settings.kafka.topic(topic): topic for topic in topics}
    missing = [
        NewTopic(
            name,
            num_partitions=topic.partitions(settings.kafka.partitions),
            replication_factor=settings.kafka.replication_factor,
            config=topic.config(settings.kafka.retention_ms),
        )
        for name, topic in wanted.items()
        if name not in existing
    ]
    created = []
    for name, future in (client.create_topics(missing, operation_timeout=seconds) if missing else {}).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ServiceError(f"can't create topic {name}: {error.args[0].str()}") from error
    _wait_until_led(client, set(wanted), seconds)
    return created


def check(settings: Settings, topics: Iterable[Topic], *, seconds: float = 30.0) -> list[Deviation]:
    """Return how the broker's topics differ from the catalogue: existence, partition count, configuration."""
    client = admin(settings)
    try:
        existing = client.list_topics(timeout=seconds).topics
        wanted = {settings.kafka.topic(topic): topic for topic in topics}
        present = [ConfigResource(ResourceType.TOPIC, name) for name in wanted if name in existing]
        futures = client.describe_configs(present, request_timeout=seconds) if present else {}
        configs = {resource.name: future.result() for resource, future in futures.items()}
    except KafkaException as error:
        raise ServiceError(_unreachable(settings, error)) from error
    deviations = []
    for name, topic in wanted.items():
        if name not in existing:
            deviations.append(Deviation(name, "topic", "exists", "missing"))
            continue
        partitions = topic.partitions(settings.kafka.partitions)
        if (found := len(existing[name].partitions)) != partitions:
            deviations.append(Deviation(name, "partitions", str(partitions), str(found)))
        for key, expected in topic.config(settings.kafka.retention_ms).items():
            if (value := str(configs[name][key].value)) != expected:
                deviations.append(Deviation(name, key, expected, value))
    return deviations


def _wait_until_led(client: AdminClient, names: set[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        known = client.list_topics(timeout=seconds).topics
        led = {n for n in names & set(known) if all(p.leader >= 0 for p in known[n].partitions.values())}
        if led == names:
            return
        if time.monotonic() > deadline:
            raise ServiceError(f"topics have no leader after {seconds:.0f} s: {', '.join(sorted(names - led))}")
        time.sleep(0.05)


def _unreachable(settings: Settings, error: KafkaException) -> str:
    return f"Kafka at {settings.kafka.bootstrap_servers} doesn't answer: {error.args[0].str()}; see `tally doctor`"
