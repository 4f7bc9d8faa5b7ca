"""The librdkafka properties that every client shares."""

from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

PARTITIONER = "murmur2_random"
"""The partitioner of every producer: the same as Java's and Faust's, so that a key has one partition everywhere."""


def client_config(settings: Settings, *, client_id: str) -> dict[str, str | int | float | bool]:
    """Return the properties common to all clients. Raises ConfigurationError where no Kafka is configured."""
    if not settings.kafka.bootstrap_servers:
        raise ConfigurationError(
            "no Kafka is configured: set kafka.bootstrap_servers in tallystick.toml or TALLY_KAFKA__BOOTSTRAP_SERVERS"
        )
    return {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        "client.id": f"tallystick-{client_id}",
        "log_level": 3,
        "reconnect.backoff.max.ms": 2_000,
        **settings.kafka.client,
    }
