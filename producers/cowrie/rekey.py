"""Re-keying: from a topic that Cowrie itself writes to, one event a record without a key, to slices by session.

Kafka says which partitions are ours, and `source.positions` from where each is read; offsets that the group commits are
never read. The order of effects is the reader's: records, their acknowledgement, the checkpoint.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from producers.checkpoints import Checkpoints, read_checkpoints
from producers.cowrie.partition import PartitionStream, Place, place_of, unread
from producers.cowrie.plan import Begin, Plan, Until
from producers.cowrie.reader import check_sensor
from tallystick.contracts.catalogue import TOPICS
from tallystick.contracts.cowrie import UNKNOWN_SENSOR
from tallystick.errors import ServiceError, UsageError
from tallystick.kafka import topics
from tallystick.kafka.consuming import close, make_consumer, records
from tallystick.kafka.pausing import paused
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.slots import member_name

log = get_logger(__name__)

_AT_ONCE = 10_000
_WINDOW_SECONDS = 0.05
_ANSWER_SECONDS = 10.0


def rekey(settings: Settings, plan: Plan, stop: Callable[[], bool]) -> None:
    """Re-key `plan.topic` until `stop` returns True, or until its end. Several processes share its partitions.

    Raises UsageError for a topic of ours and for a sensor that no event may have, ServiceError where there is no such
    topic, where Kafka can't be asked, and where the topic has lost what was read before.
    """
    check_sensor(plan.sensor)
    foreign = settings
    if plan.bootstrap_servers:
        kafka = settings.kafka.model_copy(update={"bootstrap_servers": plan.bootstrap_servers})
        foreign = settings.model_copy(update={"kafka": kafka})
    found = topics.find(foreign, plan.topic)
    if found is None:
        raise ServiceError(
            f"there is no topic {plan.topic!r} at {foreign.kafka.bootstrap_servers}: check --topic and"
            " --bootstrap-servers; Cowrie makes it with its first event, where the broker lets it"
        )
    if found.cluster == topics.cluster_id(settings) and plan.topic in {settings.kafka.topic(ours) for ours in TOPICS}:
        raise UsageError(f"{plan.topic!r} is a topic of ours, not one that Cowrie writes to: name that with --topic")
    places = {number: place_of(plan.topic, number, found) for number in found.partitions}
    group = f"rekey-{plan.topic}"
    with member_name(settings.home / "slots", settings.kafka.group(group)) as member:
        consumer = make_consumer(foreign, client_id="rekey", group=group, member=member)
        _Rekeying(settings, plan, consumer, places, stop).run()


class _Rekeying:
    """Owns its consumer. Holds a stream for each partition that the group gives it."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        consumer: Consumer,
        places: dict[int, Place],
        stop: Callable[[], bool],
    ) -> None:
        self._settings, self._plan, self._consumer, self._places, self._stop = settings, plan, consumer, places, stop
        self._publisher = Publisher(settings, client_id="rekey", linger_ms=5)
        self._waiting: list[int] | None = None
        self._streams: dict[int, PartitionStream] | None = None
        self._last: dict[int, int] = {}

    def run(self) -> None:
        try:
            if self._plan.until is Until.END:
                self._last = {number: self._bounds(number)[1] for number in self._places}
            self._consumer.subscribe(
                [self._plan.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )
            while not (self._stop() or self._is_over()):
                self._turn()
            for stream in (self._streams or {}).values():
                if not (stream.release() if self._stop() else stream.claim()):
                    log.warning("stopped before Kafka acknowledged all", name=stream.place.name)
        except KafkaException as error:
            raise ServiceError(f"can't read {self._plan.topic}: {error.args[0].str()}") from error
        finally:
            self._streams = None
            close(self._consumer)

    def _turn(self) -> None:
        if self._waiting is not None:
            self._take_up(self._waiting)
        self._take(records(self._consumer, most=_AT_ONCE, seconds=_WINDOW_SECONDS))
        if self._has_room():
            return
        with paused(self._consumer) as poll:
            while not (self._stop() or self._has_room()):
                self._take(poll(_WINDOW_SECONDS))

    def _has_room(self) -> bool:
        return all(stream.has_room for stream in (self._streams or {}).values())

    def _is_over(self) -> bool:
        return (
            self._plan.until is Until.END
            and self._streams is not None
            and all(stream.position >= self._last[number] for number, stream in self._streams.items())
        )

    def _take(self, messages: Iterable[Message]) -> None:
        by_partition: defaultdict[int, list[Message]] = defaultdict(list)
        for message in messages:
            number = message.partition() or 0
            if self._plan.until is Until.STOPPED or (message.offset() or 0) < self._last[number]:
                by_partition[number].append(message)
        for number, stream in (self._streams or {}).items():
            if found := by_partition.get(number):
                self._require_all_since(stream, found[0].offset() or 0)
                stream.take(found)
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self._plan.topic, number), cached=True)
            stream.end = max(stream.end, end)
            stream.advance()

    def _require_all_since(self, stream: PartitionStream, offset: int) -> None:
        """Say what is lost where records have expired while they waited; another gap is what compaction leaves."""
        if offset < stream.position:
            raise ServiceError(_gone_back(stream.place, stream.position, offset))
        if offset > stream.position and (low := min(offset, self._bounds(stream.place.number)[0])) > stream.position:
            stream.skip_lost(low)

    def _take_up(self, partitions: list[int]) -> None:
        checkpoints = Checkpoints(self._settings, self._publisher, read_checkpoints(self._settings))
        streams = {}
        for number in partitions:
            place, (low, high) = self._places_of(number), self._bounds(number)
            first = high if self._plan.begin is Begin.END else low
            known = checkpoints.known.get(place.source) or unread(place, position=first)
            if known.position > high:
                raise ServiceError(_gone_back(place, known.position, high))
            stream = streams[number] = PartitionStream(
                self._settings,
                self._publisher,
                checkpoints,
                place=place,
                known=known,
                sensor=self._plan.sensor or UNKNOWN_SENSOR,
                stop=self._stop,
            )
            stream.end = high
            stream.begin()
            if known.position < low:
                stream.skip_lost(low)
            if not stream.release():
                return
        self._consumer.assign(
            [TopicPartition(self._plan.topic, number, stream.position) for number, stream in streams.items()]
        )
        self._waiting, self._streams = None, streams
        log.info("took up partitions", offsets={stream.place.name: stream.position for stream in streams.values()})

    def _places_of(self, number: int) -> Place:
        if number not in self._places:
            raise ServiceError(f"{self._plan.topic} has a new partition, {number}: start this role again to read it")
        return self._places[number]

    def _bounds(self, number: int) -> tuple[int, int]:
        return self._consumer.get_watermark_offsets(TopicPartition(self._plan.topic, number), timeout=_ANSWER_SECONDS)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing is fetched until the checkpoints have been read.
        consumer.assign([])
        self._waiting, self._streams = [where.partition for where in partitions], None

    def _on_revoke(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        if self._streams:
            # Who gets them next goes on from the checkpoints, so as much as can be is acknowledged first.
            self._publisher.flush(_ANSWER_SECONDS)
            for stream in self._streams.values():
                stream.advance()
            self._publisher.flush(_ANSWER_SECONDS)
        consumer.unassign()
        self._waiting = self._streams = None


def _gone_back(place: Place, position: int, found: int) -> str:
    return (
        f"{place.name} was read up to offset {position}, but its cluster now goes on at {found}: it has lost records."
        f" To read it from its beginning, send a record without a value under the key {place.source} to"
        " source.positions; what is known already counts once"
    )
