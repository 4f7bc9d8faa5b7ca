"""How far each source has been read: the compacted topic `source.positions`, held in memory while a producer runs."""

from collections.abc import Mapping

import msgspec

from tallystick.contracts.sources import Checkpoint, decode_checkpoint, encode_checkpoint
from tallystick.contracts.topics import SOURCE_POSITIONS
from tallystick.errors import ContractError
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings


class Checkpoints:
    """The newest checkpoint of every source, as this process knows it. Not thread-safe."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._publisher = publisher
        self._topic = settings.kafka.topic(SOURCE_POSITIONS)
        self._known: dict[str, Checkpoint] = {}

    @property
    def known(self) -> Mapping[str, Checkpoint]:
        """Checkpoints by source id."""
        return self._known

    def load(self, settings: Settings) -> None:
        """Read the whole topic. Raises ServiceError where Kafka doesn't deliver it, ContractError for what it holds."""
        for record in read_whole(settings, self._topic, client_id="positions"):
            key, value = record.key(), record.value()
            if key is None or value is None:
                self._known.pop((key or b"").decode(), None)
                continue
            try:
                self._known[key.decode()] = decode_checkpoint(value)
            except msgspec.MsgspecError as error:
                raise ContractError(
                    f"{self._topic} partition {record.partition()} offset {record.offset()} is no checkpoint: {error}; "
                    "send a record without a value under its key to forget it"
                ) from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Send a checkpoint; everything before its position must be acknowledged. Raises ServiceError."""
        self._known[checkpoint.source] = checkpoint
        self._publisher.send(self._topic, key=checkpoint.source.encode(), value=encode_checkpoint(checkpoint))
