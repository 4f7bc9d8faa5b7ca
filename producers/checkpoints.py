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

    def __init__(self, settings: Settings, publisher: Publisher, known: Mapping[str, Checkpoint]) -> None:
        self._publisher = publisher
        self._topic = settings.kafka.topic(SOURCE_POSITIONS)
        self._known = dict(known)

    @property
    def known(self) -> Mapping[str, Checkpoint]:
        """Checkpoints by source id."""
        return self._known

    def save(self, checkpoint: Checkpoint) -> None:
        """Send a checkpoint; everything before its position must be acknowledged. Raises ServiceError."""
        self._known[checkpoint.source] = checkpoint
        self._publisher.send(self._topic, key=checkpoint.source.encode(), value=encode_checkpoint(checkpoint))


def read_checkpoints(settings: Settings) -> dict[str, Checkpoint]:
    """Return the newest checkpoint of every source, by its id.

    Raises ServiceError where Kafka doesn't deliver them, ContractError where the topic holds something else.
    """
    topic = settings.kafka.topic(SOURCE_POSITIONS)
    known: dict[str, Checkpoint] = {}
    for record in read_whole(settings, topic, client_id="positions"):
        source, value = (record.key() or b"").decode(), record.value()
        if value is None:
            known.pop(source, None)
            continue
        try:
            known[source] = decode_checkpoint(value)
        except msgspec.MsgspecError as error:
            raise ContractError(
                f"{topic} partition {record.partition()} offset {record.offset()} is no checkpoint: {error}; "
                "send a record without a value under its key to forget it"
            ) from error
    return known
