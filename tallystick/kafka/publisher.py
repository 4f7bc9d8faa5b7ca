"""The one producer: idempotent, acknowledged by all replicas, waiting instead of dropping."""

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tallystick.contracts.slices import Headers
from tallystick.contracts.topics import MAX_RECORD_BYTES
from tallystick.errors import ServiceError
from tallystick.kafka.client_log import librdkafka
from tallystick.kafka.config import PARTITIONER, client_config
from tallystick.settings import Settings

Delivered = Callable[[int, int], None]
"""Called with partition and offset once Kafka has acknowledged a record."""


class Publisher:
    """Sends records to Kafka, in order per partition, and knows when all of them are acknowledged.

    While Kafka is away or slow, `send` and `flush` wait; nothing is dropped. A record that Kafka refuses for good
    (too large, not authorised) makes the next `send`, `poll` or `flush` raise ServiceError. Not thread-safe.
    """

    def __init__(self, settings: Settings, *, client_id: str, linger_ms: int = 20) -> None:
        self._refused: list[KafkaError] = []
        self._told: Delivered | None = None
        self._report = self._report_to(None)
        self._producer = Producer(
            {
                **client_config(settings, client_id=client_id),
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": PARTITIONER,
                "compression.type": "lz4",
                "linger.ms": linger_ms,
                "batch.size": 1024 * 1024,
                "message.max.bytes": MAX_RECORD_BYTES,
                "message.timeout.ms": 0,
                "queue.buffering.max.messages": 100_000,
                "queue.buffering.max.kbytes": 64 * 1024,
            },
            logger=librdkafka,
        )

    def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Delivered | None = None,
    ) -> None:
        """Queue a record, waiting while the queue is full. Without `partition` the key decides.

        Returning does not promise that Kafka has it: `flush` or `on_delivery` does. `on_delivery` is called from within
        a later `send`, `poll` or `flush`, and never for a record that was refused.
        """
        if on_delivery is not self._told:  # the same for many records in a row
            self._told, self._report = on_delivery, self._report_to(on_delivery)
        if self._refused:
            self._raise_if_refused()
        where = -1 if partition is None else partition
        while True:
            try:
                self._producer.produce(topic, value, key, where, self._report, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
                self._raise_if_refused()
            except KafkaException as error:
                raise ServiceError(f"Kafka refused a record for {topic}: {error.args[0].str()}") from error
            else:
                return

    def poll(self, seconds: float = 0.0) -> None:
        """Run the callbacks of acknowledged records, waiting up to `seconds` for the first."""
        self._producer.poll(seconds)
        self._raise_if_refused()

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until Kafka has acknowledged everything; return False where `seconds` were not enough."""
        left = self._producer.flush() if seconds is None else self._producer.flush(seconds)
        self._raise_if_refused()
        return left == 0

    @property
    def waiting(self) -> int:
        """The number of records that Kafka has not acknowledged yet."""
        return len(self._producer)

    def _report_to(self, on_delivery: Delivered | None) -> Callable[[KafkaError | None, Message], None]:
        refused = self._refused

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                refused.append(error)
            elif on_delivery is not None:
                on_delivery(message.partition() or 0, message.offset() or 0)

        return report

    def _raise_if_refused(self) -> None:
        if self._refused:
            raise ServiceError(f"Kafka refused a record: {self._refused[0].str()}")
