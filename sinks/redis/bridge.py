"""The bridge from Kafka to the Redis streams of rsky-ingester, at least once, in this order:

1. Ask Redis how long the streams are; from topics that feed one which is full nothing is read.
2. Read a batch. What is no record of its topic becomes a dead letter, and Kafka has it before step 4.
3. Write the batch's entries in one transaction of Redis, again and again while Redis is away or out of memory.
4. Commit the batch's offsets.

A crash before 4 repeats the batch. Nothing is ever dropped for want of room, and no offset is ahead of what Redis has.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import redis
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from redis import exceptions

from sinks.redis.entries import STREAMS, Entry, LeftOut, decode, entries_of
from sinks.redis.repeats import Commit, Repeats
from tallystick.contracts import atproto, dead_letters, timestamps
from tallystick.contracts.dead_letters import NO_RECORD, DeadLetter
from tallystick.contracts.measures import Sample
from tallystick.contracts.topics import DEAD_LETTERS, Topic
from tallystick.errors import ConfigurationError, ContractError, ServiceError
from tallystick.kafka.consuming import close, make_consumer, records
from tallystick.kafka.pausing import Brake, paused
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.retry import retry
from tallystick.settings import Settings
from tallystick.slots import member_name

log = get_logger(__name__)

GROUP = "atproto-redis"
TELL_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 2.0
_ANSWER_SECONDS = 10.0
_TOPICS = (atproto.COMMITS, atproto.IDENTITIES, atproto.LABELS, atproto.FETCHES)

_TRANSIENT = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
)

Tell = Callable[[str, object], None]
T = TypeVar("T")


def run_bridge(settings: Settings, stop: Callable[[], bool], tell: Tell) -> None:
    """Feed the streams until `stop` returns True; `tell` gets measures every `TELL_SECONDS`.

    Raises ConfigurationError where no Redis is named or its URL is none, ServiceError where Redis or Kafka refuses for
    good. Waits, for as long as it takes, for a Redis that is away.
    """
    url = settings.atproto.redis_url
    if url is None:
        raise ConfigurationError("no Redis is named: set TALLY_ATPROTO__REDIS_URL")
    try:
        client = redis.Redis.from_url(
            url.get_secret_value(), socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
        )
    except ValueError:
        # Its words may hold the password.
        raise ConfigurationError(
            "TALLY_ATPROTO__REDIS_URL is no URL of a Redis: write redis://, rediss:// or unix://"
        ) from None
    with client, member_name(settings.home / "slots", settings.kafka.group(GROUP)) as member:
        consumer = make_consumer(settings, client_id=GROUP, group=GROUP, member=member)
        try:
            publisher = Publisher(settings, client_id=GROUP, linger_ms=5)
            Bridge(settings, consumer=consumer, client=client, publisher=publisher).run(stop, tell)
        finally:
            close(consumer)


class Bridge:
    """Writes what a group reads to the streams. Owns nothing that it is given; belongs to one thread."""

    def __init__(self, settings: Settings, *, consumer: Consumer, client: redis.Redis, publisher: Publisher) -> None:
        self._settings, self._consumer, self._client, self._publisher = settings, consumer, client, publisher
        self._topics = {settings.kafka.topic(topic): topic for topic in _TOPICS}
        self._read_meanwhile: list[Message] = []
        self._repeats = Repeats()
        self._brake = Brake(consumer)
        self._told_full: set[str] = set()
        self._lengths: dict[str, int] = {}
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def run(self, stop: Callable[[], bool], tell: Tell) -> None:
        """See `run_bridge`."""
        self._consumer.subscribe(list(self._topics))
        told = time.monotonic()
        while not stop():
            self._turn(stop)
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                tell("measures", self.measures())

    def measures(self) -> list[Sample]:
        """Return what was written and left out since the start, and how long the streams are."""
        full = self._full()
        return [
            *(Sample("tally_atproto_redis_entries_total", n, {"stream": s}) for s, n in self._written.items()),
            *(Sample("tally_atproto_redis_left_out_total", n, {"reason": r}) for r, n in self._left_out.items()),
            *(Sample("tally_atproto_redis_length", n, {"stream": s}, "gauge") for s, n in self._lengths.items()),
            *(Sample("tally_atproto_redis_full", s in full, {"stream": s}, "gauge") for s in self._lengths),
        ]

    def _turn(self, stop: Callable[[], bool]) -> None:
        lengths = self._patiently("ask how long the streams are", self._ask_lengths, stop)
        if lengths is None:
            return
        self._lengths = lengths
        self._pause_full()
        batch = self._read_meanwhile
        self._read_meanwhile = []
        most, seconds = self._settings.atproto.redis_batch, self._settings.sinks.batch_seconds
        batch += records(self._consumer, most=most, seconds=seconds)
        if batch:
            self._write(batch, stop)

    def _write(self, batch: Sequence[Message], stop: Callable[[], bool]) -> None:
        entries, left_out, commits = self._entries(batch)
        if entries and self._patiently("write", lambda: self._add(entries), stop) is None:
            return
        while not self._publisher.flush(0.5):
            if stop():
                return
        self._repeats.add(commits)
        self._written.update(entry.stream for entry in entries)
        self._left_out.update(left_out)
        self._commit(batch)

    def _entries(self, batch: Sequence[Message]) -> tuple[list[Entry], list[str], dict[Commit, None]]:
        entries: list[Entry] = []
        left_out: list[str] = []
        commits: dict[Commit, None] = {}
        host = self._settings.atproto.redis_repository_host
        for message in batch:
            topic = self._topics[message.topic() or ""]
            try:
                event = decode(topic, message.value() or b"")
            except ContractError as error:
                self._bury(message, topic, str(error))
                left_out.append("no_record_of_its_topic")
                continue
            if isinstance(event, atproto.Commit):
                commit = event.did, event.rev
                if commit in self._repeats or commit in commits:
                    left_out.append("repeat")
                    continue
                commits[commit] = None
            for found in entries_of(event, repository_host=host):
                if isinstance(found, LeftOut):
                    left_out.append(found.reason)
                else:
                    entries.append(found)
        return entries, left_out, commits

    def _add(self, entries: Sequence[Entry]) -> bool:
        pipeline = self._client.pipeline(transaction=True)
        for entry in entries:
            pipeline.xadd(entry.stream, {entry.field: entry.value})
        pipeline.execute()
        return True

    def _ask_lengths(self) -> dict[str, int]:
        streams = sorted(set(STREAMS.values()))
        pipeline = self._client.pipeline(transaction=False)
        for stream in streams:
            pipeline.xlen(stream)
        return dict(zip(streams, pipeline.execute(), strict=True))

    def _full(self) -> set[str]:
        return {name for name, length in self._lengths.items() if length >= self._settings.atproto.redis_high_water}

    def _pause_full(self) -> None:
        full = self._full()
        wanted = {name for name, topic in self._topics.items() if STREAMS[topic.name] in full}
        if full - self._told_full:
            log.warning("full", streams=sorted(full), lengths=self._lengths)
        self._told_full = full
        self._brake.hold(where for where in self._consumer.assignment() if where.topic in wanted)

    def _patiently(self, what: str, work: Callable[[], T], stop: Callable[[], bool]) -> T | None:
        """Return what `work` returns, again and again while Redis is away; None where `stop` came first."""
        try:
            return work()
        except exceptions.RedisError as error:
            _require_transient(error)
            log.warning("Redis is away", what=what, error=str(error)[:300])
        self._brake.release()
        with paused(self._consumer) as poll:
            try:
                return retry(
                    work,
                    what=f"Redis: {what}",
                    on=is_transient,
                    longest_wait=_LONGEST_WAIT_SECONDS,
                    stop=stop,
                    sleep=lambda seconds: self._read_meanwhile.extend(poll(seconds)),
                )
            except exceptions.RedisError as error:
                _require_transient(error)
                return None

    def _commit(self, batch: Sequence[Message]) -> None:
        ends = {(message.topic() or "", message.partition() or 0): (message.offset() or 0) + 1 for message in batch}
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # Partitions that have gone to another member meanwhile: it reads them once more.
            log.warning("offsets not committed", error=error.args[0].str())

    def _bury(self, message: Message, topic: Topic, problem: str) -> None:
        key = message.key() or b""
        letter = DeadLetter(
            source=key.decode("utf-8", "replace"),
            position=message.offset() or 0,
            reason=NO_RECORD,
            detail=problem,
            payload=message.value() or b"",
            origin=GROUP,
            at=timestamps.now(),
            topic=topic.name,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            key=key.decode("utf-8", "backslashreplace"),
        )
        for piece in dead_letters.pieces(letter):
            value = dead_letters.encode(piece)
            self._publisher.send(self._settings.kafka.topic(DEAD_LETTERS), key=key, value=value)


def is_transient(error: BaseException) -> bool:
    """Return whether waiting can help: Redis is away, loads, fails over or is out of memory."""
    return isinstance(error, _TRANSIENT) and not isinstance(
        error, exceptions.AuthenticationError | exceptions.AuthorizationError
    )


def _require_transient(error: exceptions.RedisError) -> None:
    if not is_transient(error):
        raise ServiceError(f"Redis refuses what it is told: {str(error)[:300]}") from error
